"""Layers that write in place, give back their input, or give more than one thing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn

from captum_video import RegressionGradCam, VideoGradCam
from captum_video.layers import resolve_layer
from tests.nets import C3DLike, Residual, clip, seeded

X = clip(2, 3, 8, 6, 6)


class Alias(nn.Module):
    """An in-place ReLU whose input is used again under its old name."""

    def __init__(self, inplace: bool = True, dropped: bool = False) -> None:
        super().__init__()
        self.c = nn.Conv3d(3, 4, 1)
        self.relu = nn.ReLU(inplace=inplace)
        self.d = nn.Conv3d(4, 4, 1)
        self.drop = nn.Dropout()
        self.fc = nn.Linear(4, 3)
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(x)
        y = self.relu(x)
        y = x if self.dropped else y
        z = self.drop(y)
        result: Tensor = self.fc((self.d(z) + x).mean((2, 3, 4)))
        return result


class TestAliases:
    @pytest.mark.parametrize("frozen", [False, True])
    @pytest.mark.parametrize("dropped", [False, True])
    @pytest.mark.parametrize("layer", ["c", "relu", "drop", "d"])
    def test_uses_under_another_name_count(self, layer: str, dropped: bool, frozen: bool) -> None:
        model = seeded(Alias(dropped=dropped)).requires_grad_(not frozen)
        ours = VideoGradCam(model, layer).attribute(X, 0, upsample=False)
        if layer == "c":
            # Captum reads the convolution's output after the ReLU has written into it
            twin = seeded(Alias(inplace=False)).eval()
            twin.forward = _with_relu_everywhere.__get__(twin)
            peer = LayerGradCam(twin, twin.c).attribute(X, 0)
        else:
            peer = LayerGradCam(model, model.get_submodule(layer)).attribute(X, 0)
        assert torch.allclose(ours, peer, atol=1e-15)

    @pytest.mark.parametrize("layer", ["relu", "d"])
    def test_at_the_layers_input(self, layer: str) -> None:
        # the score is that of the model as it is, though the layer writes into a copy
        model = seeded(Alias())
        given: list[Tensor] = []

        def watched(x: Tensor) -> Tensor:
            given.append(model(x))
            return given[-1]

        cam = VideoGradCam(watched, model.get_submodule(layer))
        cam.attribute(X, 0, attribute_to_layer_input=True)
        assert torch.equal(given[0], model(X))

    def test_overwritten_later(self) -> None:
        model = seeded(Alias(inplace=False))

        def overwriting(x: Tensor) -> Tensor:
            h = model.get_submodule("c")(x)
            y = model.get_submodule("drop")(h)
            z = (y * y).mean((2, 3, 4))
            with torch.no_grad():
                h.zero_()
            result: Tensor = model.get_submodule("fc")(z)
            return result

        def plain(x: Tensor) -> Tensor:
            y = model.get_submodule("drop")(model.get_submodule("c")(x))
            result: Tensor = model.get_submodule("fc")((y * y).mean((2, 3, 4)))
            return result

        layer = model.get_submodule("drop")
        maps = VideoGradCam(overwriting, layer).attribute(X, 0)
        assert maps.any()
        assert torch.allclose(maps, VideoGradCam(plain, layer).attribute(X, 0))


def _with_relu_everywhere(self: Any, x: Tensor) -> Tensor:
    y = F.relu(self.c(x))
    result: Tensor = self.fc((self.d(y) + y).mean((2, 3, 4)))
    return result


class Beside(nn.Module):
    """A layer that gives, and takes, a number beside its map."""

    def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"loss": x.mean(), "map": x * scale}


def test_numbers_beside_the_map_are_left_out() -> None:
    net, beside = seeded(C3DLike()), Beside()

    def model(x: Tensor) -> Tensor:
        result: Tensor = net(beside(x * 2, scale=torch.tensor(3.0, dtype=x.dtype))["map"])
        return result

    given = VideoGradCam(model, beside).attribute(X, 0)
    assert given.shape == (2, 1, 8, 6, 6)
    at_input = VideoGradCam(model, beside).attribute(X, 0, attribute_to_layer_input=True)
    assert torch.allclose(at_input, given)  # x * dy/dx is the same on both sides of a factor


def test_another_tensor_beside_the_map_is_refused() -> None:
    class Tokens(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * 2, x.new_ones(2, 5, 7)

    net, tokens = seeded(C3DLike()), Tokens()

    def model(x: Tensor) -> Tensor:
        result: Tensor = net(tokens(x)[0])
        return result

    with pytest.raises(ValueError, match=r"of shape \(2, 5, 7\) .* cannot be known"):
        VideoGradCam(model, tokens).attribute(X, 0)


@pytest.mark.parametrize("layer_input", [False, True])
def test_other_threads_are_not_captured(layer_input: bool) -> None:
    net = seeded(C3DLike())
    layer = net.get_submodule("features.3")

    def model(x: Tensor) -> Tensor:
        thread = threading.Thread(target=lambda: net(torch.ones_like(x)))
        thread.start()
        thread.join()
        result: Tensor = net(x)
        return result

    options = {"attribute_to_layer_input": layer_input}
    given = VideoGradCam(model, layer).attribute(X, 0, **options)
    assert torch.equal(given, VideoGradCam(net, layer).attribute(X, 0, **options))


class TestSeveralInputs:
    def test_the_second_is_not_given_the_firsts_time(self) -> None:
        mix = nn.Identity()

        def model(a: Tensor, b: Tensor) -> Tensor:
            slow = F.avg_pool3d(a, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
            return mix(F.avg_pool3d(b, (2, 1, 1)) + slow).mean((2, 3, 4))

        a, b = X, clip(2, 3, 8, 6, 6, seed=1)
        cam = VideoGradCam(model, mix)
        assert cam.coverage((a, b)).centres == (0, 2, 4, 6)
        low = cam.attribute((a, b), 0, upsample=False)
        of_a, of_b = cam.attribute((a, b), 0)
        even = F.interpolate(low, (8, 6, 6), mode="trilinear", align_corners=False)
        assert torch.allclose(of_b, even)
        assert torch.allclose(of_a[:, :, ::2], low)
        assert not torch.allclose(of_a, even)

    def test_features_beside_a_clip(self) -> None:
        net = seeded(Residual())

        def model(x: Tensor, facts: Tensor) -> Tensor:
            result: Tensor = net(x.transpose(1, 2)) + facts.sum(1, keepdim=True)
            return result

        clips, facts = X.transpose(1, 2), clip(2, 4)
        maps, none = VideoGradCam(model, net.get_submodule("conv"), time_dim=1).attribute(
            (clips, facts), 1
        )
        assert maps.shape == (2, 1, 8, 6, 6)
        assert none.shape == (2, 1)
        assert not none.any()


class TestRefused:
    def test_a_transform_that_exchanges_axes(self) -> None:
        model, cube = seeded(Residual()), clip(2, 3, 6, 6, 6)
        swapped = VideoGradCam(model, "stem", reshape_transform=lambda y: y.transpose(2, 3))
        text = r"reshape_transform gives a tensor .* one of them descends from another axis"
        with pytest.raises(ValueError, match=text):
            swapped.attribute(cube, 1)

    def test_activations_that_are_not_finite(self) -> None:
        layer = nn.Identity()

        def model(x: Tensor) -> Tensor:
            masked = layer(x.masked_fill(x < 0.5, float("-inf")))
            return masked.flatten(1).softmax(1)[:, :4]

        with pytest.raises(ValueError, match=r"the activation at layer 'Identity' is NaN or inf"):
            VideoGradCam(model, layer).attribute(X, 0)

    def test_pooling_by_frame_without_frames(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten())
        cam = VideoGradCam(seeded(net), "1", temporal_pooling="frame")
        with pytest.raises(
            ValueError, match=r"'frame' needs a time axis; .* name its time axis by"
        ):
            cam.attribute(clip(2, 3, 9, 7), 0)

    @pytest.mark.parametrize("form", ["array", "list", "rows", "constant"])
    def test_truths_that_cannot_be_divided(self, form: str) -> None:
        net, truth = seeded(C3DLike(classes=3)), clip(2, 3)
        given: Any = {
            "array": truth.numpy(),
            "list": truth.tolist(),
            "rows": torch.cat([truth, truth]),
            "constant": (truth, torch.ones(3)),
        }[form]

        def loss(outputs: Tensor, truth: Any) -> Tensor:
            rows = truth[0] if form == "constant" else torch.as_tensor(truth)[:2]
            return (outputs - rows[: len(outputs)]).square().mean()

        cam = RegressionGradCam(net, "features.3", loss=loss)
        with pytest.raises(ValueError, match="one row for each of the 2 examples, got"):
            cam.attribute(X, truth=given)
        if form != "constant":
            cam.attribute(X[:1], truth=given)  # one example has nothing to be divided


class TestCompiledAndScripted:
    @pytest.mark.filterwarnings("ignore:.torch.jit.script")
    def test_a_scripted_part(self) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.c = nn.Conv3d(3, 4, 3)
                self.norm = torch.jit.script(nn.BatchNorm3d(4).eval())
                self.fc = nn.Linear(4, 3)

            def forward(self, x: Tensor) -> Tensor:
                result: Tensor = self.fc(self.norm(self.c(x)).relu().mean((2, 3, 4)))
                return result

        torch.manual_seed(0)
        model = Net().double().eval()
        twin = Net().double().eval()
        twin.add_module("norm", nn.BatchNorm3d(4).double().eval())
        twin.load_state_dict(model.state_dict())
        before = {key: value.clone() for key, value in model.state_dict().items()}
        given = VideoGradCam(model, "c").attribute(X, 0)
        assert torch.allclose(given, VideoGradCam(twin, "c").attribute(X, 0))
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    def test_names_behind_compile(self) -> None:
        model = seeded(C3DLike())
        assert resolve_layer(torch.compile(model), "features.3") is model.get_submodule(
            "features.3"
        )
