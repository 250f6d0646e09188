"""Axes that a forward or a layer names by number: the same on a clip, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torchvision.ops import Permute

from captum_video.nn import inflate

Step = Callable[[Tensor], Tensor]


class Then(nn.Module):
    """A convolution, then what a function does with its maps."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self.conv(x))


class Only(nn.Module):
    """What a function does with what is given."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x)


def response_norm(x: Tensor, dims: tuple[int, int], channels: int) -> Tensor:
    """Of ConvNeXt-V2."""
    norms = torch.norm(x, p=2, dim=dims, keepdim=True)
    return x * (norms / (norms.mean(channels, keepdim=True) + 1e-6))


def last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


@fx.wrap
def wrapped(x: Tensor) -> Tensor:
    return x.flip(3)


def standardised(x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


#: what names other axes of a clip, and the call that is named
REFUSED: dict[str, tuple[Step, str]] = {
    "response norm": (lambda x: response_norm(x, (2, 3), 1), "norm"),
    "response norm, last": (lambda x: response_norm(last(x), (1, 2), -1), "norm"),
    "mean": (lambda x: x - x.mean(2, keepdim=True), "mean"),
    "mean, last": (lambda x: last(x).mean((1, 2), keepdim=True) * last(x), "mean"),
    "mean, first of last": (lambda x: last(x).mean(1), "mean"),
    "mean, as in numpy": (lambda x: x - x.mean(axis=2, keepdims=True), "mean"),  # type: ignore
    "wrapped": (lambda x: wrapped(x), "wrapped, into which torch.fx does not follow"),
    "tensordot": (lambda x: torch.tensordot(x, x, dims=([2], [2])), "tensordot"),
    "flip": (lambda x: x + x.flip(3), "flip"),
    "flip of several": (lambda x: x + x.flip(1, 3), "flip"),
    "torch.flip": (lambda x: x + torch.flip(x, dims=(3,)), "flip"),
    "roll": (lambda x: torch.roll(x, 1, 3), "roll"),
    "roll dims": (lambda x: torch.roll(x, shifts=(1, 1), dims=(2, 3)), "roll"),
    "roll of all": (lambda x: x.roll(1), "roll"),
    "softmax": (lambda x: torch.softmax(x, 3), "softmax"),
    "F.softmax": (lambda x: F.softmax(x, 2), "softmax"),
    "cat": (lambda x: torch.cat([x, x], 3), "cat"),
    "stack": (lambda x: torch.stack((x, x), 2).sum(2), "stack"),
    "cumsum": (lambda x: x.cumsum(3), "cumsum"),
    "max": (lambda x: x - x.max(3, keepdim=True)[0], "max"),
    "chunk": (lambda x: x.chunk(2, 3)[0], "chunk"),
    "split": (lambda x: x.split(3, dim=-3)[0], "split"),
    "var_mean": (standardised, "var_mean"),
    "size": (lambda x: x.mean((2, 3), keepdim=True) * x.shape[-1] * x, "getitem"),
    "counted": (lambda x: x.sum((2, 3)) / (x.shape[-1] * x.shape[-2]), "sum"),
    "size()": (lambda x: x * x.size(-2), "size"),
    "first of four": (lambda x: x * x.shape[-4], "getitem"),
    "slice of sizes": (lambda x: F.layer_norm(x, x.shape[1:]), "getitem"),
    "sum of all": (lambda x: x / x.sum(), "sum"),
    "norm of all": (lambda x: x / x.norm(), "norm"),
    "std": (lambda x: x * x.std((2, 3), keepdim=True), "std"),
    "sum of places": (lambda x: x.flatten(2).sum(2), "sum"),
    "gram": (lambda x: x.flatten(2) @ x.flatten(2).mT, "matmul"),
    "normalize": (lambda x: F.normalize(x, dim=2), "normalize"),
    "normalize places": (lambda x: F.normalize(x.flatten(2), dim=2), "normalize"),
    "vector_norm": (
        lambda x: x / torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True),
        "linalg_vector_norm",
    ),
    "einsum": (lambda x: torch.einsum("nchw->nc", x), "einsum"),
    "index_select": (lambda x: x.index_select(3, torch.tensor([0, 1])), "index_select"),
    "narrow": (lambda x: x.narrow(3, 0, 2), "narrow"),
    "rot90": (lambda x: torch.rot90(x, 1, (2, 3)), "rot90"),
    "diff": (lambda x: x.diff(dim=3), "diff"),
    "ellipsis": (lambda x: x * x.mean((-1, -2))[..., None, None], "mul"),
    "transpose": (lambda x: x.transpose(1, 2), "transpose"),
    "movedim": (lambda x: torch.relu(x.movedim(1, 3)).movedim(3, 1), "movedim"),
    "time left": (lambda x: x.mean(-1).mean(-1), "mean"),
    "places of frames": (lambda x: x.flatten(-2), "flatten"),
    "unsqueeze": (lambda x: x.unsqueeze(-4).squeeze(1), "unsqueeze"),
    "cut": (lambda x: x[:, :, 1:], "getitem"),
    "norm of batch, last": (lambda x: F.instance_norm(last(x)), "instance_norm"),
}
#: what does not, and whose answer is then the frame's
ACCEPTED: dict[str, Step] = {
    "channels": lambda x: x * x.softmax(1) + x.mean(1, keepdim=True),
    "width": lambda x: x - x.amax(-1, keepdim=True),
    "both, of each frame": lambda x: x / torch.norm(x, dim=(-2, -1), keepdim=True),
    "both": lambda x: x - x.mean((2, 3), keepdim=True),
    "transposed": lambda x: x @ x.mT,
    "movedim": lambda x: x.movedim(1, -1).softmax(-1).movedim(-1, 1),
    "transpose": lambda x: x.transpose(1, -1).softmax(-1).transpose(1, -1),
    "cat and chunk": lambda x: torch.cat([x.chunk(2, 1)[1] * 2, x.chunk(2, 1)[0]], 1),
    "flip": lambda x: x.flip(-1) + x.flip(-2),
    "roll": lambda x: torch.roll(x, (1, 2), (-2, -1)),
    "crop": lambda x: x[..., 1:, 2:],
    "last": lambda x: F.normalize(last(x), dim=-1).permute(0, 3, 1, 2),
    "last, plain tokens": lambda x: x * x.mean((2, 3)).unsqueeze(1).softmax(2).mT.view(2, 4, 1, 1),
    "tokens": lambda x: x.flatten(2).transpose(1, 2).mean(1),
    "tokens, last": lambda x: x.flatten(2).mean(-1),
    "attention": lambda x: x.flatten(2).softmax(-1) @ x.flatten(2).transpose(1, 2),
    "features": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1).cumsum(1),
    "sizes of features": lambda x: x.mean((2, 3)) * x.mean((2, 3)).shape[-1],
    "extremes": lambda x: torch.maximum(x, x.min(1, keepdim=True)[0]).clamp(-3, 2).pow(2),
    "pooled": lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(),
}


def answers(net: nn.Module) -> tuple[Tensor, Tensor]:
    """Of the inflated net to a still clip, and of the net to its frame."""
    image = torch.rand(2, 3, 8, 6, dtype=torch.float64)
    video = inflate(net, "3d", temporal_padding="replicate")
    got, want = video(image.unsqueeze(2).expand(-1, -1, 5, -1, -1)), net(image)
    if got.dim() == 5:
        want = want.unsqueeze(2).expand(-1, -1, 5, -1, -1)
    return got, want


@pytest.mark.parametrize("name", REFUSED)
def test_other_axes_of_a_clip_are_refused(name: str) -> None:
    step, call = REFUSED[name]
    with pytest.raises(ValueError, match=rf"the model \(Then\): it calls {call}\b"):
        inflate(Then(step))


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted_answers_a_still_clip_as_its_frame(name: str) -> None:
    torch.manual_seed(0)
    got, want = answers(Then(ACCEPTED[name]).double().eval())
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU])
@pytest.mark.parametrize("dim", [2, 3, -3, -4])
def test_layers_along_other_axes_are_named(kind: Any, dim: int) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), kind(dim=dim))
    with pytest.raises(ValueError, match=rf"'1' \({kind.__name__}\): its dim={dim} is another"):
        inflate(net)


@pytest.mark.parametrize("kind", [nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU])
@pytest.mark.parametrize("dim", [1, -1, -2])
def test_layers_along_the_same_axes_stay(kind: Any, dim: int) -> None:
    torch.manual_seed(0)
    got, want = answers(nn.Sequential(nn.Conv2d(3, 4, 1), kind(dim=dim)).double())
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


def test_other_layers_with_axes() -> None:
    with pytest.raises(ValueError, match=r"'1' \(Unflatten\): its dim=3 is another"):
        inflate(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Unflatten(3, (2, 3))))


def test_a_child_that_works_along_the_last_axis() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.mix = nn.Conv2d(3, 4, 1), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(self.conv(x))

    torch.manual_seed(0)
    got, want = answers(Mixed().double())
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


def test_axes_of_what_is_given_from_outside_are_those_of_maps() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), Only(lambda x: x.flip(2)))
    with pytest.raises(ValueError, match=r"'1' \(Only\): it calls flip in a way"):
        inflate(net)
    torch.manual_seed(0)
    got, want = answers(nn.Sequential(nn.Conv2d(3, 4, 1), Only(lambda x: x.softmax(1))).double())
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


def test_a_model_that_moves_its_channels_cannot_name_them_elsewhere() -> None:
    conv, there, back = nn.Conv2d(3, 4, 1), Permute([0, 2, 3, 1]), Permute([0, 3, 1, 2])
    net = nn.Sequential(conv, there, Only(lambda x: x.softmax(1)), back)
    with pytest.raises(
        ValueError, match=r"'2' \(Only\): it calls softmax along an axis by number, and whether"
    ):
        inflate(net)
    torch.manual_seed(0)
    net = nn.Sequential(conv, there, nn.Linear(4, 4), Only(lambda x: x.softmax(-1)), back)
    got, want = answers(net.double())
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
