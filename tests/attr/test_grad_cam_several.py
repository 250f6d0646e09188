"""Several inputs, and layers that give several tensors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video import VideoGradCam
from tests.nets import C3DLike, TwoStream, clip, seeded

SHAPE = (2, 3, 8, 12, 10)


class TestSeveralInputs:
    def test_one_map_for_each(self) -> None:
        model = seeded(TwoStream())
        pair = clip(2, 3, 8, 12, 10), clip(2, 2, 8, 6, 6, seed=1)

        def both(rgb: Tensor, flow: Tensor) -> Tensor:
            result: Tensor = model(rgb, F.interpolate(flow, rgb.shape[2:]))
            return result

        maps = VideoGradCam(both, model.get_submodule("rgb")).attribute(pair, 1)
        assert [m.shape for m in maps] == [(2, 1, 8, 12, 10), (2, 1, 8, 6, 6)]
        assert maps[0].abs().max() > 0
        assert not maps[1].any()  # the flow does not lead to the layer
        flow, own = VideoGradCam(both, model.get_submodule("flow")).attribute(pair, 1)
        assert not flow.any()
        assert own.abs().max() > 0

    def test_a_layer_that_both_lead_to(self) -> None:
        class Fused(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.rgb = nn.Conv3d(3, 2, 1)
                self.flow = nn.Conv3d(2, 2, 1)
                self.joint = nn.Conv3d(4, 5, 3, padding=1)

            def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
                both = torch.cat([self.rgb(rgb), self.flow(flow)], 1)
                return self.joint(both).relu().mean((2, 3, 4))

        pair = clip(2, 3, 8, 12, 10), clip(2, 2, 8, 12, 10, seed=1)
        maps = VideoGradCam(seeded(Fused()), "joint").attribute(pair, 1)
        assert maps[0].any()
        assert torch.equal(maps[0], maps[1])

    def test_of_different_lengths(self) -> None:
        # two rates of one video: where the slices sit is known for the input that they come from
        model = seeded(TwoStream())
        slow, fast = clip(2, 3, 4, 12, 10), clip(2, 2, 8, 6, 6, seed=1)

        def both(rgb: Tensor, flow: Tensor) -> Tensor:
            joint = F.interpolate(rgb, (8, 12, 10)) + F.interpolate(flow, (8, 12, 10)).mean(1, True)
            result: Tensor = model(joint, F.interpolate(flow, (8, 12, 10)))
            return result

        cam = VideoGradCam(both, model.get_submodule("rgb"))
        low = cam.attribute((slow, fast), 1, upsample=False)
        of_slow, of_fast = cam.attribute((slow, fast), 1)
        assert (of_slow.shape, of_fast.shape) == ((2, 1, 4, 12, 10), (2, 1, 8, 6, 6))
        frames = [F.interpolate(low[:, :, t], (6, 6), mode="bilinear") for t in range(8)]
        assert torch.allclose(of_fast, torch.stack(frames, 2))


class Both(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, y * 3


def test_a_layer_with_a_tensor_of_each_input() -> None:
    model, gate = seeded(TwoStream()), Both()
    pair = clip(2, 3, 8, 12, 10), clip(2, 2, 8, 6, 6, seed=1)

    def both(rgb: Tensor, flow: Tensor) -> Tensor:
        rgb, flow = gate(rgb, flow)
        result: Tensor = model(rgb, F.interpolate(flow, rgb.shape[2:]))
        return result

    maps = VideoGradCam(both, gate).attribute(pair, 1)
    assert [m.shape for m in maps] == [(2, 1, 8, 12, 10), (2, 1, 8, 6, 6)]
    low = VideoGradCam(both, gate).attribute(pair, 1, upsample=False)
    assert all(torch.allclose(a, b) for a, b in zip(maps, low, strict=True))
    assert all(m.any() for m in maps)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x * 3


class TestGradArguments:
    def test_reach_autograd(self) -> None:
        pair, net, x = Pair(), seeded(C3DLike()), clip(*SHAPE)

        def model(clips: Tensor) -> Tensor:
            result: Tensor = net(pair(clips)[0])
            return result

        used, unused = VideoGradCam(model, pair).attribute(x, 1)
        assert used.any()
        assert not unused.any()
        with pytest.raises(RuntimeError, match="not have been used in the graph"):
            VideoGradCam(model, pair).attribute(x, 1, grad_kwargs={"allow_unused": False})
