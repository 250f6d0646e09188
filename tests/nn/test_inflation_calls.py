"""2D functions in a module's own forward."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import FrozenBatchNorm2d, SqueezeExcitation

from captum_video.nn import inflate

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
Step = Callable[[Any, Tensor], Tensor]


class Calling(nn.Module):
    """A convolution, then what a function does with its maps."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.step = step
        self.gain = nn.Parameter(torch.rand(4, 1, 1))
        self.offset = nn.Parameter(torch.rand(1, 4, 6, 6))
        self.weight = nn.Parameter(torch.rand(4, 4, 1, 1))
        self.register_buffer("level", torch.rand(4))
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self, self.conv(x))


def squeezed(module: nn.Module, x: Tensor) -> Tensor:
    batch, channels, _, _ = x.size()
    gates = F.adaptive_avg_pool2d(x, 1).view(batch, channels).sigmoid()
    return x * gates.view(batch, channels, 1, 1).expand_as(x)


#: what ends in maps, ``(N, C, H, W)``
MAPS: dict[str, Step] = {
    "avg_pool": lambda m, x: F.avg_pool2d(x, 3, stride=1, padding=1),
    "torch.max_pool": lambda m, x: torch.max_pool2d(x, kernel_size=(3, 3), stride=2),
    "max_pool": lambda m, x: F.max_pool2d(x, kernel_size=2),
    "adaptive": lambda m, x: F.adaptive_max_pool2d(x, [2, 3]),
    "twice": lambda m, x: F.max_pool2d(F.max_pool2d(x, 3, 1), 3, 1),
    "interpolate": lambda m, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "interpolate two": lambda m, x: F.interpolate(x, scale_factor=[2.0, 1.5]),
    "pad": lambda m, x: F.pad(x, [1, 2, 0, 1]),
    "pad width": lambda m, x: F.pad(x, (1, 1), value=2.0),
    "reflect": lambda m, x: F.pad(x, (1, 1, 2, 2), mode="reflect"),
    "dropout2d": lambda m, x: F.dropout2d(x, 0.5, m.training),
    "both dropouts": lambda m, x: F.dropout(F.max_pool2d(x, 2), 0.5, m.training),
    "mean kept": lambda m, x: x - x.mean((2, 3), keepdim=True),
    "squeezed": squeezed,
    "indexed": lambda m, x: x * x.mean([2, 3])[:, :, None, None],
    "unsqueezed": lambda m, x: x + x.amax((-2, -1)).unsqueeze(-1).unsqueeze(-1),
    "unsqueezed in order": lambda m, x: x + x.amax((-2, -1)).unsqueeze(2).unsqueeze(3),
    "gain": lambda m, x: m.gain * x,
    "offset": lambda m, x: x + m.offset,
    "level": lambda m, x: x * m.level.view(1, -1, 1, 1),
    "permuted": lambda m, x: x.permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2),
    "torch.permuted": lambda m, x: torch.permute(torch.permute(x, (0, 2, 3, 1)), [0, 3, 1, 2]),
}
#: what ends in features, ``(N, F)``
FEATURES: dict[str, Step] = {
    "mean": lambda m, x: x.mean([2, 3]),
    "torch.mean": lambda m, x: torch.mean(x, dim=(-2, -1)),
    "mean of channels too": lambda m, x: x.mean(dim=(1, 2, 3)).unsqueeze(1),
    "mean of all": lambda m, x: x.mean((-3, -2, -1)).unsqueeze(1),
    "amax": lambda m, x: torch.amax(x, (3, 2)),
    "pooled": lambda m, x: torch.flatten(F.adaptive_avg_pool2d(x, (2, 2)), start_dim=1),
    "viewed": lambda m, x: F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1),
}


@pytest.mark.parametrize("name", MAPS)
def test_calls_on_maps_are_replaced(name: str) -> None:
    torch.manual_seed(0)
    net = Calling(MAPS[name]).double().eval()
    video = inflate(net, "3d", temporal_padding="replicate")
    assert isinstance(video, fx.GraphModule)
    image = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    got, want = video(image.unsqueeze(2).expand(-1, -1, 7, -1, -1)), net(image)
    torch.testing.assert_close(got, want.unsqueeze(2).expand_as(got), **EXACT)
    assert got.shape[:2] + got.shape[3:] == want.shape


@pytest.mark.parametrize("name", FEATURES)
def test_calls_that_end_in_features_are_replaced(name: str) -> None:
    torch.manual_seed(0)
    net = Calling(FEATURES[name]).double().eval()
    video = inflate(net, temporal_padding="replicate", divide=True)
    image = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(
        video(image.unsqueeze(2).expand(-1, -1, 7, -1, -1)), net(image), **EXACT
    )


def test_calls_by_hand() -> None:
    clip = torch.arange(1.0, 9).view(1, 1, 8, 1, 1).expand(2, 3, -1, 4, 4)

    def answer(step: Step, **options: Any) -> Tensor:
        net = Calling(step)
        nn.init.zeros_(net.conv.weight)
        nn.init.dirac_(net.conv.weight)
        nn.init.zeros_(net.conv.get_parameter("bias"))
        return inflate(net, "3d", depth=1, **options)(clip)[0, 0]

    assert answer(lambda m, x: x.mean([2, 3])).item() == 4.5
    assert answer(lambda m, x: F.max_pool2d(x, 2))[:, 0, 0].tolist() == [2, 4, 6, 8]
    kept = answer(lambda m, x: F.max_pool2d(x, 2), temporal_stride=False)
    assert kept[:, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    averaged = answer(lambda m, x: F.avg_pool2d(x, 3, 1, 1), temporal_padding="replicate")
    torch.testing.assert_close(averaged[:, 1, 1], torch.tensor([4 / 3, 2, 3, 4, 5, 6, 7, 23 / 3]))


def test_everything_registered_stays() -> None:
    net = Calling(MAPS["dropout2d"]).double()
    net.unused.requires_grad_(False)
    net.register_buffer("hidden", torch.zeros(1), persistent=False)
    video: Any = inflate(net, "3d")
    assert list(video.state_dict()) == list(net.state_dict())
    assert list(dict(video.named_children()))[:2] == ["conv", "unused"]
    assert video.training
    assert not video.unused.weight.requires_grad
    assert type(video).__name__ == "Calling"
    clip = torch.rand(2, 3, 4, 6, 6, dtype=torch.float64)
    zeroed = (video(clip) == 0).flatten(2).all(2)
    assert zeroed.any()
    assert not zeroed.all()
    assert not (video.eval()(clip) == 0).any()


def test_a_module_without_such_calls_stays_what_it_is() -> None:
    steps: tuple[Step, ...] = (
        lambda m, x: F.relu(x).flatten(1),
        lambda m, x: x[:, 1:3],
        lambda m, x: x.mean(1, keepdim=True),
        lambda m, x: x.view(x.size(0), x.shape[1], -1).transpose(1, 2),
    )
    for step in steps:
        assert type(inflate(Calling(step))) is Calling


def test_following_a_forward_leaves_no_trace() -> None:
    def step(module: Any, x: Tensor) -> Tensor:
        module.seen = x
        return F.max_pool2d(x, 2) if torch.rand(1) < 2 else x

    net = Calling(step)
    rng = torch.get_rng_state()
    video = inflate(net)
    assert torch.equal(torch.get_rng_state(), rng)
    assert not hasattr(net, "seen")
    assert not hasattr(video, "seen")
    assert isinstance(video, fx.GraphModule)


class Branching(nn.Module):
    """What its forward calls depends on the input, so that it cannot be traced."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.step = step

    def forward(self, x: Tensor, rate: float | None = None) -> Tensor:
        if rate:
            return self.conv(x)
        return self.step(self, self.conv(x))


def test_a_forward_that_only_an_option_makes_untraceable_is_followed_without_it() -> None:
    net = Branching(lambda m, x: F.relu(x))
    assert type(inflate(net)) is Branching
    net = Branching(lambda m, x: F.max_pool2d(x, 2))
    with pytest.raises(
        ValueError, match=r"the model \(Branching\): it calls max_pool2d in a forward"
    ):
        inflate(net)
    net = Branching(lambda m, x: x * m.gain)
    net.gain = nn.Parameter(torch.rand(4, 1, 1))
    with pytest.raises(ValueError, match="it calls an operation on a map of its own in a forward"):
        inflate(net)


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return helped(x) if x.max() > 0 else self.conv(x)


def helped(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def test_an_untraceable_forward_is_searched_for_names() -> None:
    with pytest.raises(ValueError, match=r"it calls avg_pool2d in a forward that torch.fx cannot"):
        inflate(nn.Sequential(Untraceable()))

    class Averaged(Untraceable):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean([-2, -1]) if x.max() > 0 else x

    with pytest.raises(
        ValueError, match=r"it calls mean over 2d in a forward that torch.fx cannot"
    ):
        inflate(Averaged())

    class Summed(Untraceable):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sum(self.conv(x), dim=(3, 2)) if x.max() > 0 else x

    with pytest.raises(ValueError, match=r"it calls sum over 2d in a forward that torch.fx cannot"):
        inflate(Summed())

    class Harmless(Untraceable):
        def __init__(self) -> None:
            super().__init__()
            self.pool2d = nn.MaxPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1, keepdim=True) if x.max() > 0 else self.pool2d(self.conv(x))

    with pytest.warns(UserWarning, match="cannot trace the forward of Harmless and searched it"):
        assert type(inflate(Harmless())) is Harmless


REFUSED: dict[str, tuple[Step, str]] = {
    "conv": (lambda m, x: F.conv2d(x, m.weight), "calls conv2d with weights that are not those"),
    "child's conv": (lambda m, x: F.conv2d(x, m.conv.weight.mT), "calls conv2d with weights"),
    "transposed": (lambda m, x: F.conv_transpose2d(x, m.weight), "calls conv_transpose2d"),
    "shuffle": (lambda m, x: F.pixel_shuffle(x, 2), "calls pixel_shuffle in a way"),
    "unfold": (lambda m, x: F.unfold(x, 3), "calls unfold in a way"),
    "one side": (lambda m, x: x.mean(3).mean(2), "calls mean in a way"),
    "view": (lambda m, x: x.view(2, 4, 3, 12), "calls view in a way"),
    "permute": (lambda m, x: x.permute(1, 0, 2, 3), "calls permute in a way"),
    "transpose": (lambda m, x: x.transpose(2, 3), "calls transpose in a way"),
    "flatten": (lambda m, x: x.flatten(2, 3), "calls flatten in a way"),
    "torch.flatten": (lambda m, x: torch.flatten(x, end_dim=2), "calls flatten in a way"),
    "crop": (lambda m, x: x[:, :, 1:, 1:], "calls getitem to read the size of a frame or a part"),
    "shape": (lambda m, x: x * x.shape[2], "calls getitem to read the size of a frame"),
    "size": (lambda m, x: x * x.size(3), "calls size to read the size of a frame"),
    "softmax": (lambda m, x: x.softmax(dim=3), "calls softmax in a way"),
    "global": (lambda m, x: F.avg_pool2d(x, x.size(-1)), "calls size to read the size of a frame"),
    "counted": (lambda m, x: F.avg_pool2d(x, x.size(1)), "calls avg_pool2d with arguments that"),
    "sized": (lambda m, x: F.interpolate(x, 12), "calls interpolate: it is given a size"),
    "bicubic": (
        lambda m, x: F.interpolate(x, scale_factor=2, mode="bicubic"),
        "calls interpolate: its mode 'bicubic' has no counterpart",
    ),
    "smooth": (
        lambda m, x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
        "calls interpolate with antialias",
    ),
    "indices": (
        lambda m, x: F.max_pool2d(x, 2, return_indices=True)[0],
        "calls max_pool2d_with_indices in a way",
    ),
    "channels": (lambda m, x: F.pad(x, (0,) * 4 + (1, 1)), "calls pad: it pads more than height"),
    "always": (lambda m, x: F.dropout2d(x, 0.5, True), "calls dropout2d in evaluation mode too"),
    "child's weight": (
        lambda m, x: F.max_pool2d(x, 2) * m.conv.weight.mean(),
        "calls max_pool2d in a forward that uses tensors which are neither",
    ),
    "modes": (
        lambda m, x: F.max_pool2d(x, 2) if m.training else x,
        "calls max_pool2d in a forward that differs between training and evaluation",
    ),
    "constant": (
        lambda m, x: F.max_pool2d(x, 2) * torch.ones(1).double(),
        "calls max_pool2d in a forward that uses tensors which are neither",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_calls_without_counterpart_are_named(name: str) -> None:
    step, text = REFUSED[name]
    net = nn.ModuleDict({"body": nn.Sequential(Calling(step))})
    with pytest.raises(ValueError, match=rf"cannot handle 'body.0' \(Calling\): it {text}"):
        inflate(net)


def test_torchvisions_own_modules() -> None:
    torch.manual_seed(0)
    norm = FrozenBatchNorm2d(4)
    for buffer in norm.buffers():
        buffer.uniform_(0.5, 2)
    layers = (nn.Conv2d(3, 4, 1), norm, SqueezeExcitation(4, 2), LayerNorm2d(4))
    net = nn.Sequential(*layers).double()
    image = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    got = inflate(net)(image.unsqueeze(2).expand(-1, -1, 3, -1, -1))
    torch.testing.assert_close(got, net(image).unsqueeze(2).expand_as(got), **EXACT)


class LastNorm(nn.LayerNorm):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(1, -1)).transpose(1, -1)


def test_a_norm_with_a_forward_of_its_own_is_followed_like_any_module() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), LastNorm(4))
    video = inflate(net)
    assert type(video.get_submodule("1")) is LastNorm
    image = torch.rand(2, 3, 5, 5)
    got = video(image.unsqueeze(2).expand(-1, -1, 3, -1, -1))
    torch.testing.assert_close(got, net(image).unsqueeze(2).expand_as(got))


def test_a_rewritten_module_can_be_pickled() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), FrozenBatchNorm2d(4))
    video = inflate(net)
    clip = torch.rand(2, 3, 3, 5, 5)
    assert torch.equal(pickle.loads(pickle.dumps(video))(clip), video(clip))
