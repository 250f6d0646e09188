"""Conv3T as a layer: like Conv3d with the same kernel, whatever is done to it."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video import DeepTaylor, VideoGradCam
from captum_video.nn import Conv3T, FactorizedConv3d, FreeConv3T
from tests.nn.layers import KINDS, moved

TEMPORAL = ("scale", "rotation", "translation_x", "translation_y")


def clip(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("kind", KINDS)
class TestKernel:
    def test_identity_is_the_first_slice_stacked(self, kind: type[FactorizedConv3d]) -> None:
        layer = kind(3, 4, (4, 5, 3))
        kernel = layer.kernel()
        assert kernel.shape == (4, 3, 4, 5, 3)
        assert torch.equal(kernel, layer.first_slice.unsqueeze(2).expand_as(kernel))

    def test_starts_like_conv3d(self, kind: type[FactorizedConv3d]) -> None:
        torch.manual_seed(0)
        ours, theirs = kind(32, 64, 3, bias=True), nn.Conv3d(32, 64, 3)
        assert ours.first_slice.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.02)
        bounds = [layer.bias.abs().max().item() for layer in (ours, theirs)]  # type: ignore[union-attr]
        assert bounds[0] == pytest.approx(bounds[1], rel=0.05)
        assert ours.first_slice.abs().max() > 3 * ours.first_slice.std()  # normal, not uniform
        moved(ours)
        ours.reset_parameters()
        assert torch.equal(ours.kernel()[:, :, 0], ours.kernel()[:, :, 2])

    def test_one_step_from_the_identity_moves_every_parameter(
        self, kind: type[FactorizedConv3d]
    ) -> None:
        torch.manual_seed(0)
        for size in (3, 5, 7):
            layer = kind(2, 4, size)
            before = copy.deepcopy(layer)
            optimiser = torch.optim.SGD(layer.parameters(), lr=0.01)
            layer(torch.randn(2, 2, 9, 12, 12)).square().mean().backward()
            optimiser.step()
            for (name, new), old in zip(layer.named_parameters(), before.parameters(), strict=True):
                assert (new - old).abs().amax() > 1e-6, (size, name)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, kind: type[FactorizedConv3d], dtype: torch.dtype) -> None:
        layer = moved(kind(3, 4, 5).to(dtype))
        wide = copy.deepcopy(layer).double()
        assert layer.kernel().dtype == dtype
        error = (layer.kernel().double() - wide.kernel()).abs()
        # as near as the dtype allows: only the result is rounded to it
        assert (error <= 0.51 * torch.finfo(dtype).eps * wide.kernel().abs() + 1e-6).all()


OPTIONS: list[dict[str, Any]] = [
    {},
    {"stride": (2, 1, 2), "padding": (1, 2, 0)},
    {"padding": "same", "dilation": (1, 2, 1)},
    {"padding": "valid", "bias": False},
    {"groups": 2, "padding": 1, "padding_mode": "replicate"},
    {"padding": (1, 0, 2), "padding_mode": "circular"},
    {"padding": 1, "padding_mode": "reflect", "stride": 2},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
def test_like_conv3d(kind: type[FactorizedConv3d], options: dict[str, Any]) -> None:
    layer = moved(kind(4, 6, (3, 5, 3), dtype=torch.float64, **options))
    plain = nn.Conv3d(4, 6, (3, 5, 3), dtype=torch.float64, **options)
    with torch.no_grad():
        plain.weight.copy_(layer.kernel())
        if plain.bias is not None:
            plain.bias.copy_(layer.bias)
    x = clip(2, 4, 6, 12, 9)
    assert torch.equal(layer(x), plain(x))
    assert torch.equal(layer(x[0]), plain(x[0]))
    exported = layer.to_conv3d()
    assert type(exported) is nn.Conv3d
    assert torch.equal(exported(x), plain(x))
    assert exported.extra_repr() == plain.extra_repr() == layer.extra_repr()
    assert exported.weight.requires_grad
    assert exported.weight.dtype == torch.float64
    assert not layer.eval().to_conv3d().training


@pytest.mark.parametrize("kind", KINDS)
class TestUse:
    def test_state_dict(self, kind: type[FactorizedConv3d]) -> None:
        layer, other = moved(kind(3, 4, 3)), kind(3, 4, 3)
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(layer.kernel(), other.kernel())
        names = {"first_slice", "bias", *(TEMPORAL if kind is Conv3T else ["transform"])}
        assert set(layer.state_dict()) == names

    def test_autocast(self, kind: type[FactorizedConv3d]) -> None:
        layer, x = moved(kind(3, 4, 5, padding=2)), torch.randn(2, 3, 5, 8, 8)
        exact = layer.kernel()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer.kernel(), exact)
            y = layer(x)
        assert y.dtype == torch.bfloat16
        assert torch.allclose(y.float(), layer(x), atol=0.05)
        y.float().square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())

    def test_compile(self, kind: type[FactorizedConv3d]) -> None:
        layer, x = moved(kind(3, 4, 3, padding=1)), torch.randn(2, 3, 5, 8, 8)
        compiled: Any = torch.compile(layer, backend="aot_eager", fullgraph=True)
        expected = layer(x)
        assert torch.allclose(compiled(x), expected, atol=1e-6)
        compiled(x).square().sum().backward()
        mine = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
        layer.zero_grad()
        expected.square().sum().backward()
        assert all(
            torch.allclose(a, p.grad, rtol=1e-4, atol=1e-4)
            for a, p in zip(mine, layer.parameters(), strict=True)
            if p.grad is not None
        )
        with torch.no_grad():
            layer.eval()
            assert torch.allclose(compiled(x), expected, atol=1e-6)

    def test_shapes_without_values(self, kind: type[FactorizedConv3d]) -> None:
        layer = kind(3, 4, 3, padding=1, device="meta")
        for mode in (layer.train(), layer.eval().requires_grad_(False)):
            assert mode(torch.zeros(2, 3, 5, 8, 8, device="meta")).shape == (2, 4, 5, 8, 8)

    @pytest.mark.filterwarnings("ignore")  # torch.jit is on its way out, and says so
    def test_script_trace(self, kind: type[FactorizedConv3d]) -> None:
        layer, x = moved(kind(3, 4, 3, padding=1)).eval(), torch.randn(2, 3, 5, 8, 8)
        with torch.no_grad():
            traced = torch.jit.trace(layer, (x,))
            assert torch.allclose(traced(x), layer(x), atol=1e-6)

    def test_export(self, kind: type[FactorizedConv3d]) -> None:
        layer, x = moved(kind(3, 4, 3, padding=1)).eval(), torch.randn(2, 3, 5, 8, 8)
        program = torch.export.export(layer, (x,))
        assert torch.allclose(program.module()(x), layer(x), atol=1e-6)


def net(layer: nn.Module) -> nn.Module:
    torch.manual_seed(2)
    first = (layer, nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2))
    second = (nn.Conv3d(4, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    return nn.Sequential(*first, *second, nn.Linear(5, 3)).double().eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2])
def test_explained_like_the_exported_layer(kind: type[FactorizedConv3d], groups: int) -> None:
    layer = moved(kind(2, 4, 3, padding=1, groups=groups).double())
    x = clip(2, 2, 6, 8, 8).abs()
    ours, plain = net(layer), net(layer.to_conv3d())
    for make in (
        lambda model: DeepTaylor(model),
        lambda model: DeepTaylor(model, alpha=2, beta=1, input_range=(0, 4), bias="ignore"),
        lambda model: VideoGradCam(model, "0"),
    ):
        mine, expected = (make(model).attribute(x, target=1) for model in (ours, plain))
        assert expected.abs().max() > 0
        assert (mine - expected).abs().max() <= 1e-12 * expected.abs().max()


class TestDistributed:
    def test_one_process(self, tmp_path: Any) -> None:
        layer, x = moved(Conv3T(3, 4, 3)), torch.randn(2, 3, 5, 8, 8)
        layer(x).square().sum().backward()
        expected = [p.grad.clone() for p in layer.parameters()]
        layer.zero_grad()
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
        )
        try:
            parallel = nn.parallel.DistributedDataParallel(layer)
            parallel(x).square().sum().backward()
        finally:
            torch.distributed.destroy_process_group()
        for parameter, gradient in zip(layer.parameters(), expected, strict=True):
            assert torch.allclose(parameter.grad, gradient)


class TestBadInput:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ((3, 4, (1, 3, 3)), r"at least 2 in time, got \(1, 3, 3\): .*use torch.nn.Conv3d"),
            ((3, 4, 1), "at least 2 in time, got 1"),
            ((3, 4, (3, 1, 1)), r"more than one tap in space, got \(3, 1, 1\)"),
            ((3, 4, 3, 1, 0, 1, 2), "in_channels must be divisible by groups"),
            ((4, 3, 3, 1, 0, 1, 2), "out_channels must be divisible by groups"),
            ((3, 4, 3, 2, "same"), "padding='same' is not supported for strided"),
            ((3, 4, 3, 1, "half"), "Invalid padding string 'half'"),
        ],
    )
    def test_refused(
        self, kind: type[FactorizedConv3d], arguments: tuple[Any, ...], text: str
    ) -> None:
        with pytest.raises(ValueError, match=text):
            kind(*arguments)

    def test_even_kernels_turn_about_their_middle(self) -> None:
        layer = Conv3T(1, 1, (2, 4, 4), bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.rotation.fill_(torch.pi / 2)
        kernel = layer.kernel()[0, 0]
        assert torch.allclose(kernel[1], torch.rot90(kernel[0]), atol=1e-14)

    def test_wrong_channels(self) -> None:
        with pytest.raises(RuntimeError, match="to have 3 channels, but got 2"):
            Conv3T(3, 4, 3)(torch.randn(1, 2, 5, 8, 8))

    def test_parameters_that_are_not_numbers_reach_the_output(self) -> None:
        layer = Conv3T(1, 2, 3)
        with torch.no_grad():
            layer.rotation[0, 1] = torch.nan
        y = layer(torch.randn(1, 1, 4, 5, 5))
        assert y[:, 0].isfinite().all()
        assert y[:, 1].isnan().all()


def test_free_contains_affine() -> None:
    affine = moved(Conv3T(3, 4, 5, dtype=torch.float64))
    free = FreeConv3T(3, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        free.first_slice.copy_(affine.first_slice)
        free.transform.copy_(affine.sampling())
    assert torch.equal(free.kernel(), affine.kernel())
    assert sum(p.numel() for p in free.parameters()) == 4 * 3 * 25 + 4 + 4 * 4 * 25 * 25
    assert sum(p.numel() for p in affine.parameters()) == 4 * 3 * 25 + 4 + 4 * 4 * 4


def test_parameter_count() -> None:
    # nm + 4(l - 1) for each output channel (paper 1, appendix A), per input channel and group
    count = sum(p.numel() for p in Conv3T(6, 8, (4, 5, 3), groups=2).parameters())
    assert count == 8 * 3 * 15 + 4 * 3 * 8 + 8


def test_a_moving_pattern_is_matched_best_by_its_own_motion() -> None:
    """Translation to the right by one pixel a frame: kernel content must move so as well."""
    pattern = torch.zeros(1, 1, 5, 9, 9, dtype=torch.float64)
    for frame in range(5):
        pattern[0, 0, frame, 4, 2 + frame] = 1
    scores = {}
    for x in (-0.5, 0.0, 0.5):
        layer = Conv3T(1, 1, 5, bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.first_slice.zero_()
            layer.first_slice[0, 0, 2, 0] = 1
            layer.translation_x.fill_(x)
        scores[x] = F.conv3d(pattern, layer.kernel()).max().item()
    # -0.5 half widths of 5 taps are one pixel to the right
    assert scores == {-0.5: 5.0, 0.0: 1.0, 0.5: 1.0}
