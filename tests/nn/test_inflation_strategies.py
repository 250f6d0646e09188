"""Fusion strategies carried over to other backbones, and what the inflated layers keep."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.nn import FusionUnit, Strategy, fusion_layers, gated_modules, inflate
from captum_video.nn.gates import FusionGates
from captum_video.nn.strategies import (
    current_strategy,
    fixed_network,
    sample_strategies,
    set_strategy,
)
from tests.nn.test_inflation import EXACT, still
from tests.nn.test_inflation_fusion import KINDS, shaken, small_dense, small_net


def test_kinds_by_sequence_by_name_and_by_strategy() -> None:
    net = small_net().eval()
    assert fusion_layers(net) == ["stem", "depthwise"]

    def kinds(conv: Any, per_layer: Any) -> list[str]:
        video: Any = inflate(net, conv, per_layer=per_layer, temporal_padding="replicate").eval()
        image = torch.rand(2, 3, 8, 8, dtype=torch.float64)
        torch.testing.assert_close(video(still(image, 4)), net(image), **EXACT)
        found = []
        for name in ("stem", "depthwise"):
            layer = video.get_submodule(name)
            if isinstance(layer, FusionUnit):
                found.append("s+st" if layer.gates is None else "fusion")
            else:
                found.append("st" if layer.temporal.kernel_size[0] == 3 else "s")
        assert isinstance(video.point, nn.Conv3d)
        return found

    assert kinds("fusion", ["s", "st"]) == ["s", "st"]
    assert kinds("s", ("s+st", "fusion")) == ["s+st", "fusion"]
    assert kinds("fusion", {"depthwise": "s"}) == ["fusion", "s"]
    assert kinds("st", {}) == ["st", "st"]
    strategy = Strategy(
        {"stem": (True, True), "depthwise": (False, True)},
        dict.fromkeys(("stem", "depthwise"), ("S", "ST")),
        0.0,
    )
    assert kinds("s", strategy.kinds()) == ["s+st", "st"]
    assert kinds("s", strategy.at_depth(2)) == ["s+st", "st"]


def test_a_strategy_is_found_and_built_in_the_same_names() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 4, padding="same"), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
    ).double()
    assert fusion_layers(net) == ["0", "2"]
    fused = inflate(net, "fusion").eval()
    assert list(gated_modules(fused)) == ["0.conv", "2"]  # padding apart
    set_strategy(fused, {"0.conv": (False, True), "2": (True, False)})
    kinds = current_strategy(fused).kinds()
    built: Any = inflate(net, "s+st", per_layer=kinds).eval()
    assert (built[0].conv.temporal.kernel_size[0], built[2].temporal.kernel_size[0]) == (3, 1)
    clip = torch.rand(1, 3, 4, 6, 6, dtype=torch.float64)
    built[0].conv.temporal.weight.data.div_(2)  # the share that it has in the fused layer
    built[2].temporal.weight.data.div_(2)
    torch.testing.assert_close(built(clip), fused(clip), **EXACT)
    alone = nn.Conv2d(3, 3, 4, padding="same")
    assert fusion_layers(alone) == [""]
    for name in ("", "conv"):
        built = inflate(alone, "st", per_layer={name: "s+st"})
        assert isinstance(built[1], FusionUnit)
        with pytest.raises(ValueError, match="got 'other'"):
            inflate(alone, "st", per_layer={"other": "s"})


def test_a_convolution_that_pads_itself_is_fused_too() -> None:
    class Padded(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(3, 4, 3)
            self.pad = nn.ZeroPad2d((0, 1, 0, 1))

        def forward(self, x: Tensor) -> Tensor:
            x = self.pad(x)
            return F.conv2d(
                x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
            )

    net = nn.Sequential(Padded()).double().eval()
    video: Any = inflate(net, "fusion", per_layer={"0.conv": "s+st"}, temporal_padding="replicate")
    assert isinstance(video[0].conv, FusionUnit)
    assert not any(module.training for module in video.modules())
    image = torch.rand(1, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(video(still(image, 3)), still(net(image), 3), **EXACT)


def test_shared_layers_have_one_kind_and_tied_kernels_stay_tied() -> None:
    shared, tied = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
    tied.weight = shared.weight
    net = nn.ModuleDict({"one": shared, "two": nn.Sequential(shared), "three": tied})
    assert fusion_layers(net) == ["one", "three"]
    for per_layer in (["s", "fusion"], {"one": "s"}, {"two.0": "s"}, {"one": "s", "two.0": "s"}):
        video = inflate(net, "fusion", per_layer=per_layer)
        one, two, three = (video.get_submodule(name) for name in ("one", "two.0", "three"))
        assert one is two
        assert (type(one), type(three)) == (nn.Sequential, FusionUnit)
        assert one.get_parameter("spatial.weight") is three.get_parameter("spatial.weight")
    text = r"one kind, got 'st' for 'two.0' and 's' for another of its names \(one, two.0\)"
    with pytest.raises(ValueError, match=text):
        inflate(net, "fusion", per_layer={"one": "s", "two.0": "st"})


@pytest.mark.parametrize(
    ("per_layer", "error", "text"),
    [
        ({"sten": "s"}, ValueError, r"larger than 1x1, got 'sten'\. Did you mean 'stem'\?"),
        ({"point": "s"}, ValueError, r"larger than 1x1, got 'point'\."),
        (
            {"stem": "3d"},
            ValueError,
            r"per_layer\['stem'\] must be 'fusion' or 's' or .*, got '3d'",
        ),
        (["s", "S"], ValueError, r"per_layer\['depthwise'\] must be .*, got 'S'"),
        (
            {"stem": "none"},
            ValueError,
            r"must not be 'none', got it for 'stem': .*at_depth\(count\)",
        ),
        ({"stem": (True, False)}, ValueError, r"per_layer\['stem'\] must be"),
        (["s"], ValueError, r"each of the model's 2 convolutions .* got 1: fusion_layers\(model\)"),
        (["s"] * 3, ValueError, r"each of the model's 2 convolutions .* got 3"),
        ("st", TypeError, r"must be a mapping or a sequence of kinds, got str"),
        (3, TypeError, r"must be a mapping or a sequence of kinds, got int"),
        (
            Strategy({"a": (True,)}, {"a": ("S",)}, 0.0),
            TypeError,
            r"got a Strategy.*strategy.at_depth\(2\) gives kinds for this model's 2 layers",
        ),
    ],
    ids=str,
)
def test_kinds_are_checked(per_layer: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        inflate(small_net(), "fusion", per_layer=per_layer)


@pytest.mark.parametrize(
    ("conv", "options", "error", "text"),
    [
        ("3t", {"per_layer": ["s", "s"]}, ValueError, r"per_layer needs conv='fusion' or .*'3t'"),
        ("3d", {"gate_options": {}}, ValueError, r"gate_options needs conv='fusion' or .*'3d'"),
        ("s", {"gate_options": {"gates": "two"}}, ValueError, r"needs a layer with gates"),
        ("fusion", {"gate_options": {"gate": 1}}, ValueError, r"no option 'gate'. Did .* 'gates'"),
        (
            "fusion",
            {"gate_options": {"gates": None}},
            ValueError,
            r"must be 'two' or 'three', got N",
        ),
        ("fusion", {"gate_options": ["gates"]}, TypeError, r"must be a mapping, got list"),
        ("fusion", {"gate_options": {"drop_probability": 1}}, ValueError, r"between 0 and 1"),
        (
            "fusion",
            {"gate_options": {"temperature": 0}},
            ValueError,
            r"temperature must be positive",
        ),
        ("st", {"depth": 2}, ValueError, r"must be odd for conv='st', so that S and ST .* got 2"),
        ("fusion", {"depth": 0}, ValueError, r"at least 1 for conv='fusion', got 0"),
    ],
)
def test_options_are_checked(conv: Any, options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        inflate(small_net(), conv, **options)


def test_gate_options_reach_the_gates() -> None:
    options = {"gates": "three", "temperature": 0.5, "drop_probability": [0.2, 0.3, 0.4]}
    video: Any = inflate(small_net(), "fusion", gate_options=options)
    for unit in gated_modules(video).values():
        gates: Any = unit.gates
        assert gates.units == ("S", "ST", "S+ST")
        assert gates.temperature == 0.5
        assert gates.drop_probability().tolist() == pytest.approx([0.2, 0.3, 0.4])
        assert gates.strategy.tolist() == [True, True, True]
    default: Any = inflate(small_net(), "fusion").get_submodule("stem.gates")
    assert default.units == ("S", "ST")
    assert default.drop_probability().tolist() == pytest.approx([0.1, 0.1])
    assert default.temperature == 0.2


def test_gradients_reach_gates_paths_and_kernels() -> None:
    torch.manual_seed(0)
    video = inflate(small_net(), "fusion", gate_options={"gates": "three"}).train()
    video(torch.rand(4, 3, 8, 8, 8, dtype=torch.float64)).square().sum().backward()
    for name, parameter in video.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_given_stays_as_it_is(kind: Any) -> None:
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    text, rng = str(net), torch.get_rng_state()
    video = inflate(net, kind, per_layer={"stem": "fusion"})
    with torch.no_grad():
        for tensor in video.state_dict().values():
            tensor.zero_()
    assert str(net) == text
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("kind", KINDS)
def test_flags_and_kinds_are_kept(kind: Any) -> None:
    net: Any = small_net().to(torch.bfloat16)
    net.stem.requires_grad_(False)
    net.depthwise.eval()
    video: Any = inflate(net, kind)
    gates = {id(one.drop_logit) for one in video.modules() if isinstance(one, FusionGates)}
    assert {p.dtype for p in video.parameters() if id(p) not in gates} == {torch.bfloat16}
    assert {p.dtype for p in video.parameters() if id(p) in gates} <= {torch.float32}
    assert bool(gates) == (kind == "fusion")
    frozen = {name for name, p in video.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in video.named_parameters() if name.startswith("stem.")}
    assert {m.training for m in video.stem.modules()} == {True}
    assert {m.training for m in video.depthwise.modules()} == {False}
    with torch.device("meta"):
        empty = small_net()
    assert {t.device.type for t in inflate(empty, kind).state_dict().values()} == {"meta"}


def test_the_result_can_be_copied_and_saved() -> None:
    net = small_net().eval()
    video = shaken(inflate(net, "fusion", per_layer={"stem": "st"})).eval()
    clip = torch.rand(1, 3, 4, 8, 8, dtype=torch.float64)
    want = video(clip)
    fresh = inflate(small_net(), "fusion", per_layer={"stem": "st"}).eval()
    fresh.load_state_dict(video.state_dict())
    for other in (copy.deepcopy(video), pickle.loads(pickle.dumps(video)), fresh):
        torch.testing.assert_close(other(clip), want, **EXACT)


@pytest.mark.parametrize("gates", ["two", "three"])
def test_strategies_of_an_inflated_net_can_be_fixed(gates: str) -> None:
    net, _ = small_dense()
    options = {"gates": gates, "drop_probability": 0.5}
    video = shaken(inflate(net, "fusion", gate_options=options))
    assert list(gated_modules(video)) == fusion_layers(net)
    clip = torch.rand(1, 3, 8, 32, 32, dtype=torch.float64)
    count = sum(p.numel() for p in video.parameters())
    answers = []
    for strategy in sample_strategies(video, 3):
        set_strategy(video, strategy)
        fixed = fixed_network(copy.deepcopy(video))
        assert not gated_modules(fixed)
        with torch.no_grad():
            answers.append(video(clip))
            torch.testing.assert_close(fixed(clip), answers[-1], rtol=0, atol=1e-10)
        assert sum(p.numel() for p in fixed.parameters()) < count
    assert (answers[0] - answers[1]).abs().max() > 1e-6
