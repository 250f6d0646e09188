"""The fusion unit with fixed gates, its parameters, other precisions, and errors."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from captum_video.nn.fusion import GATES, FusionUnit, Silent
from captum_video.nn.gates import forced_gates
from tests.nn.test_fusion_unit import KINDS, clip, strategies, unit


class TestFixed:
    @pytest.mark.parametrize("kind", KINDS)
    def test_copies_in_the_same_mode(self, kind: str) -> None:
        net = unit(kind)
        assert net.gates is not None
        state = copy.deepcopy(net.state_dict())
        for kept in strategies(net):
            plain = net.fixed(kept)
            assert plain.training
            assert all(p.requires_grad for p in plain.parameters())
            with torch.no_grad():
                for parameter in plain.parameters():
                    parameter.zero_()
        assert all(torch.equal(v, state[n]) for n, v in net.state_dict().items())

    def test_kernels(self) -> None:
        net = unit("three")
        depths = {}
        for kept in strategies(net):
            first = next(iter(net.fixed(kept).children()), None)
            depths[kept] = first.kernel_size if isinstance(first, nn.Conv3d) else None
        assert depths.pop((True, False, False)) == (1, 1, 1)
        assert depths.pop((False, False, False)) is None
        assert set(depths.values()) == {(3, 1, 1)}

    def test_wrong_number_of_units(self) -> None:
        for kind, kept in (("two", (True,) * 3), ("three", (True,) * 2), (None, (True,) * 3)):
            with pytest.raises(ValueError, match="zip"):
                unit(kind).fixed(kept)

    @pytest.mark.parametrize("bias", [True, False])
    def test_silent(self, bias: bool) -> None:
        conv = nn.Conv3d(2, 3, (1, 3, 5), (1, 2, 1), (0, 0, 2), (1, 2, 1), bias=bias)
        x = clip(2, 2, 7, 11, 9, dtype=torch.float32)
        want = conv(torch.zeros(2, 2, 3, 11, 9))  # 7 frames, every third
        got = Silent(conv, 3)(x)
        assert torch.equal(got, want)
        assert torch.equal(Silent(conv, 3)(x[0]), want[0])
        assert got.abs().sum().item() == (0 if not bias else pytest.approx(want.abs().sum().item()))
        assert Silent(conv, 3)(x.double()).dtype == torch.float64


PARAMETRIZED = [
    *((part, how) for how in ("spectral", "weight") for part in ("s", "st", "spatial", "both.1")),
    ("spatial", "bias"),
    ("st", "prune"),
]


def parametrized(part: str, how: str) -> FusionUnit:
    """A unit, one of its parts with a weight that is computed."""
    net = unit("three")
    module = net.get_submodule(part)
    if how == "spectral":
        parametrizations.spectral_norm(module)
    elif how == "weight":
        parametrizations.weight_norm(module)
        with torch.no_grad():
            module.parametrizations.weight.original0.mul_(1.7)  # type: ignore[union-attr, operator]
    else:
        name = "bias" if how == "bias" else "weight"
        parametrize.register_parametrization(module, name, nn.Tanhshrink())
    return net


class TestComputedWeights:
    @pytest.mark.parametrize(("part", "how"), PARAMETRIZED)
    @pytest.mark.parametrize("training", [False, True])
    def test_parametrizations(self, part: str, how: str, training: bool) -> None:
        net, x = parametrized(part, how).train(training), clip()
        assert net.gates is not None
        before = copy.deepcopy(net.state_dict())
        plain = unit("three").eval()
        for kept in strategies(net):
            net.gates.set_strategy(kept)
            fixed = net.fixed(kept)
            assert not any("parametrizations" in name for name in fixed.state_dict())
            assert fixed.training == training
            assert all(p.requires_grad for p in fixed.parameters())
            want = copy.deepcopy(net).eval()(x)
            torch.testing.assert_close(fixed(x), want, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(want, plain(x), rtol=1e-3)
        assert all(
            torch.equal(v, before[n]) for n, v in net.state_dict().items() if n[:5] != "gates"
        )

    def test_what_was_frozen_stays_frozen(self) -> None:
        net = unit("two")
        net.st.requires_grad_(False)
        net.spatial.weight.requires_grad_(False)
        for kept, temporal in (((True, True), True), ((False, True), False), ((True, False), True)):
            flags = {name: p.requires_grad for name, p in net.fixed(kept).named_parameters()}
            assert flags == {
                "temporal.weight": temporal, "spatial.weight": False, "spatial.bias": True,
            }  # fmt: skip
        assert [p.requires_grad for p in net.fixed((False, False)).parameters()] == [True]

    @pytest.mark.parametrize("part", ["", "s", "st", "both.0", "spatial", "gates"])
    def test_hooks_would_be_lost(self, part: str) -> None:
        net = unit("three")
        module = net.get_submodule(part)
        handle = module.register_full_backward_hook(lambda *_: None)
        text = f"{f'FusionUnit {part}'.strip()} has backward hooks, which would be lost: remove"
        with pytest.raises(ValueError, match=text):
            net.fixed((True, True, True))
        handle.remove()
        net.fixed((True, True, True))
        module.forward = lambda x: x
        with pytest.raises(ValueError, match="has a forward of its own, which would be lost"):
            net.fixed((True, True, True))

    def test_forward_of_another_class(self) -> None:
        net = unit("two")
        net.st = Doubled(4, 4, (3, 1, 1), padding=(1, 0, 0), bias=False, dtype=torch.float64)
        with pytest.raises(ValueError, match=r"must be Conv3d layers, got Doubled\("):
            net.fixed((True, True))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("how", ["prune", "weight_norm", "hook", "class", "method"])
    def test_training_runs_what_paths_do_beside(self, kind: str, how: str) -> None:
        """The kernel that is added up for each clip would leave it out."""
        net, x = unit(kind), clip()
        with torch.no_grad():
            if how == "prune":
                prune.random_unstructured(net.st, "weight", 0.5)
                net.st.weight_orig.add_(1.0)  # type: ignore[operator]
            elif how == "weight_norm":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)
                    torch.nn.utils.weight_norm(net.st)
                net.st.weight_g.mul_(3.0)  # type: ignore[operator]
            elif how == "hook":
                net.st.register_forward_hook(lambda *found: found[2] * 2)
            elif how == "method":
                forward = net.st.forward
                net.st.forward = lambda input: forward(input) * 2  # type: ignore[method-assign]
            else:
                net.st = Doubled(
                    4, 4, (3, 1, 1), padding=(1, 0, 0), bias=False, dtype=torch.float64
                )
        assert net.gates is not None
        values = torch.rand(3, len(net.gates.units), dtype=torch.float64)
        answers = []
        for training in (True, False):
            with forced_gates({net.gates: values}):
                answers.append(net.train(training)(x))
            with forced_gates({net.gates: values[:1]}):
                answers.append(net(x[0]))
        torch.testing.assert_close(answers[0], answers[2], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(answers[1], answers[3], rtol=1e-12, atol=1e-12)


class Doubled(nn.Conv3d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


class TestParameters:
    def test_counts(self) -> None:
        def count(**options: Any) -> int:
            return sum(p.numel() for p in FusionUnit(4, 6, mid_channels=5, **options).parameters())

        # S 4*5, ST 4*5*3, shared 5*6*9 + 6, gates
        assert count(gates=None) == 20 + 60 + 276
        assert count(gates="two") == 356 + 2
        assert count(gates="three") == 356 + 20 + 60 + 3
        assert count(gates="two", bias=False, depth=5, kernel_size=(1, 3)) == 20 + 100 + 90 + 2

    def test_same_start_whatever_the_gates(self) -> None:
        plain, gated = unit(None), unit("two")
        for name, parameter in plain.named_parameters():
            assert torch.equal(parameter, gated.get_parameter(name)), name

    @pytest.mark.parametrize("kind", KINDS)
    def test_paths_and_weights(self, kind: str) -> None:
        net = unit(kind)
        assert net.gates is not None
        assert net.gates.units == GATES[kind]
        assert net.paths_of("S") == (net.s,)
        assert net.paths_of("ST") == (net.st,)
        assert net.weights_of("ST")[0] is net.st.weight
        assert net.paths_of("S+ST") == tuple(net.both or ())
        assert len(net.weights_of("S+ST")) == (2 if kind == "three" else 0)

    def test_gates_options(self) -> None:
        net = FusionUnit(2, 2, temperature=0.7, drop_probability=(0.2, 0.4), dtype=torch.float64)
        assert net.gates is not None
        assert net.gates.temperature == 0.7
        assert net.gates.drop_probability().tolist() == pytest.approx([0.2, 0.4])
        assert {p.dtype for p in net.parameters()} == {torch.float64}
        assert all(p.is_meta for p in FusionUnit(2, 2, gates="three", device="meta").parameters())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, None])
    def test_gates_have_float32_or_more(self, dtype: torch.dtype | None) -> None:
        net = FusionUnit(2, 2, gates="three", dtype=dtype)
        assert net.gates is not None
        assert net.st.weight.dtype == (dtype or torch.float32)
        wanted = torch.float64 if dtype == torch.float64 else torch.float32
        assert net.gates.drop_logit.dtype == wanted

    def test_state_dict_round_trip(self) -> None:
        one, other = unit("three", seed=0).eval(), unit("three", seed=1).eval()
        assert one.gates is not None
        one.gates.set_strategy([False, True, True])
        other.load_state_dict(one.state_dict())
        assert torch.equal(other(clip()), one(clip()))


class TestPrecision:
    @pytest.mark.parametrize("kind", [*KINDS, None])
    @pytest.mark.parametrize("training", [True, False])
    def test_bfloat16_and_autocast(self, kind: str | None, training: bool) -> None:
        net, x = unit(kind).float().train(training), clip().float()
        torch.manual_seed(0)
        want = net(x)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            cast = net(x)
        torch.manual_seed(0)
        half = net.to(torch.bfloat16)(x.to(torch.bfloat16))
        for got in (cast, half):
            assert got.dtype == torch.bfloat16
            torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)

    def test_channels_last(self) -> None:
        net, x = unit("three").eval(), clip()
        want = net(x)
        got = net.to(memory_format=torch.channels_last_3d)(
            x.to(memory_format=torch.channels_last_3d)
        )
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


class TestCompilers:
    @pytest.mark.parametrize("kind", KINDS)
    def test_compile_and_export(self, kind: str) -> None:
        net, x = unit(kind).eval(), clip()
        assert net.gates is not None
        net.gates.set_strategy([False, True, True][: len(net.gates.units)])
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        exported = torch.export.export(net, (x,)).module()
        assert torch.equal(compiled(x), net(x))
        assert torch.equal(exported(x), net(x))
        net.train()
        torch.manual_seed(0)
        want = net(x)
        torch.manual_seed(0)
        assert torch.equal(compiled(x), want)


class TestErrors:
    @pytest.mark.parametrize("depth", [0, 2, 4, -1])
    def test_depth(self, depth: int) -> None:
        text = f"depth must be odd, so that S and ST see the same frame, got {depth}"
        with pytest.raises(ValueError, match=text):
            FusionUnit(2, 2, depth=depth)

    @pytest.mark.parametrize("gates", ["one", "Two", "", 2])
    def test_gates(self, gates: Any) -> None:
        with pytest.raises(ValueError, match=f"gates must be 'two' or 'three', got {gates!r}"):
            FusionUnit(2, 2, gates=gates)

    @pytest.mark.parametrize(
        "shape", [(2, 3, 4, 5, 5), (3, 4, 5, 5), (4, 5, 5), (1, 1, 4, 3, 5, 5)]
    )
    def test_shape(self, shape: tuple[int, ...]) -> None:
        # torch's own words, which name the kernel and the input
        for net in (unit("two"), unit("two").eval()):
            with pytest.raises(RuntimeError, match=r"Given groups=1|Expected 4D"):
                net(clip(*shape))

    def test_padding(self) -> None:
        text = r"padding must be one number or two \(height, width\), got 'same'"
        with pytest.raises(ValueError, match=text):
            FusionUnit(2, 2, padding="same")  # type: ignore[arg-type]

    def test_what_others_refuse(self) -> None:
        with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
            FusionUnit(3, 4, groups=2)
        with pytest.raises(ValueError, match="temperature must be positive"):
            FusionUnit(2, 2, temperature=0)
        with pytest.raises(ValueError, match=r"must be one number or 2 \(S, ST\), got 3"):
            FusionUnit(2, 2, drop_probability=(0.1, 0.1, 0.1))
