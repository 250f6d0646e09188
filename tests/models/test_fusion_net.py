from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from captum_video import VideoGradCam
from captum_video.nn import FusionGates, FusionUnit, fusion_regularizer, gated_modules, set_strategy
from captum_video.nn.gates import forced_gates
from captum_video.nn.strategies import current_strategy, fixed_network, most_probable_strategy
from models.data import LookOrMotion
from models.fusion_net import DenseLayer, FusionNet

LAYERS = [
    "block1.layer1.unit",
    "block2.layer1.unit",
    "block2.layer2.unit",
    "block3.layer1.unit",
    "block3.layer2.unit",
    "block3.layer3.unit",
]


def small(**options: object) -> models.BundledModel:
    """The small net in float64 and evaluation mode, with norms that do something."""
    torch.manual_seed(0)
    net = models.build("fusion_net_small", **options).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean = torch.randn_like(module.weight)
            module.running_var = torch.rand_like(module.weight) + 0.5
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return net


def clip(count: int = 2, frames: int = 9) -> Tensor:
    return torch.randn(count, 1, frames, 24, 24, dtype=torch.float64)


def gates_of(model: nn.Module) -> list[FusionGates]:
    return [module.gates for module in gated_modules(model).values() if module.gates is not None]


def gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max())


def without_gates(model: nn.Module) -> dict[str, Tensor]:
    """The state without gates."""
    return {key: value for key, value in model.state_dict().items() if ".gates." not in key}


def test_layers_have_readable_names() -> None:
    assert list(gated_modules(models.build("fusion_net_small"))) == LAYERS
    with torch.device("meta"):
        full = models.build("fusion_net")
    names = list(gated_modules(full))
    assert len(names) == 6 + 12 + 24 + 16
    assert (names[0], names[-1]) == ("block1.layer1.unit", "block4.layer16.unit")
    for name in ("stem.pool", "reduction3.conv", full.info.layer, "scores"):
        full.get_submodule(name)


def test_parameters_of_the_full_net_are_as_derived_by_hand() -> None:
    with torch.device("meta"):
        nets = {
            conv: models.build("fusion_net", classes=101, conv=conv)
            for conv in ("fusion", "s", "st", "s+st")
        }
        three = models.build("fusion_net", classes=101, gates="three")
    # channels before each layer: 64 to 224, 128 to 480, 256 to 992 and 512 to 992, in steps of 32
    before = sum(
        sum(range(first, first + 32 * layers, 32))
        for first, layers in ((64, 6), (128, 12), (256, 24), (512, 16))
    )
    assert before == 6 * 144 + 12 * 304 + 24 * 624 + 16 * 752 == 31520
    stem = 3 * 64 * 49 + 2 * 64
    reductions = sum(2 * c + c * c // 2 for c in (256, 512, 1024))
    head = 2 * 1024 + 1024 * 101 + 101
    shared = 58 * 128 * 32 * 9
    rest = stem + reductions + head + shared + 2 * before
    for conv, taps in (("s", 1), ("st", 3), ("s+st", 4)):
        assert sum(p.numel() for p in nets[conv].parameters()) == rest + taps * 128 * before
    gates = 2 * 58
    assert sum(p.numel() for p in nets["fusion"].parameters()) == rest + 4 * 128 * before + gates
    assert sum(p.numel() for p in three.parameters()) == rest + 8 * 128 * before + 3 * 58


def test_the_full_net_halves_space_in_pools_and_keeps_time() -> None:
    torch.manual_seed(0)
    net = FusionNet(5, blocks=(1, 1, 1), stem=4, growth=2, bottleneck=3).eval()
    shapes = {}
    for name in ("stem.conv", "stem", "block1", "reduction1", "reduction2", "relu", "average"):
        net.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: shapes.update({name: tuple(out.shape[1:])})
        )
    assert net(torch.randn(1, 3, 5, 32, 32)).shape == (1, 5)
    assert shapes == {
        "stem.conv": (4, 5, 32, 32),
        "stem": (4, 5, 16, 16),
        "block1": (6, 5, 16, 16),
        "reduction1": (3, 5, 8, 8),
        "reduction2": (2, 5, 4, 4),
        "relu": (4, 5, 4, 4),
        "average": (4, 1, 1, 1),
    }
    assert net.get_submodule("stem.pool").kernel_size == (3, 3, 3)
    assert isinstance(net.get_submodule("stem.pool"), nn.MaxPool3d)
    assert isinstance(net.get_submodule("reduction1.pool"), nn.AvgPool3d)


def test_a_layer_sees_all_earlier_ones_of_its_block() -> None:
    torch.manual_seed(1)
    unit = FusionUnit(3, 2, gates=None, bias=False)
    layer = DenseLayer(3, unit).double().eval()
    x = torch.randn(1, 3, 4, 5, 5, dtype=torch.float64)
    normed = F.relu(x / (1 + 1e-5) ** 0.5)
    paths = F.conv3d(normed, unit.s.weight)
    paths = paths + F.conv3d(normed, unit.st.weight, padding=(1, 0, 0))
    made = F.conv3d(paths, unit.spatial.weight, padding=(0, 1, 1))
    torch.testing.assert_close(layer(x), torch.cat([x, made], 1))


def test_open_gates_equal_the_twin_that_keeps_both() -> None:
    net, twin = small(), small(conv="s+st")
    twin.load_state_dict(without_gates(net))
    x = clip()
    torch.testing.assert_close(net(x), twin(x), rtol=0, atol=1e-10)
    assert not gated_modules(twin)


@pytest.mark.parametrize(("conv", "kept"), [("s", (True, False)), ("st", (False, True))])
def test_a_strategy_equals_the_twin_and_is_exported_as_it(
    conv: str, kept: tuple[bool, bool]
) -> None:
    net = small()
    set_strategy(net, dict.fromkeys(LAYERS, kept))
    fixed = fixed_network(copy.deepcopy(net))
    twin = small(conv=conv)
    twin.load_state_dict(fixed.state_dict())
    x = clip()
    torch.testing.assert_close(twin(x), net(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(fixed(x), net(x), rtol=0, atol=1e-10)
    count = [sum(p.numel() for p in model.parameters()) for model in (fixed, net)]
    assert count[0] < count[1]
    assert gap(net(x), small()(x)) > 1e-3


def test_the_most_probable_strategy_is_exported() -> None:
    net = small(gates="three")
    for index, gates in enumerate(gates_of(net)):
        gates.set_drop_probability([0.2 + 0.6 * ((index >> u) & 1) for u in range(3)])
    set_strategy(net, most_probable_strategy(net))
    x = clip()
    fixed = fixed_network(copy.deepcopy(net))
    torch.testing.assert_close(fixed(x), net(x), rtol=0, atol=1e-10)
    assert not gated_modules(fixed)
    assert sum(p.numel() for p in fixed.parameters()) < sum(p.numel() for p in net.parameters())


def test_a_spatial_net_looks_at_frames_one_by_one() -> None:
    x = clip(1)
    shuffled = x[:, :, torch.randperm(9, generator=torch.Generator().manual_seed(2))]
    for net, alike in ((small(conv="s"), True), (small(conv="st"), False), (small(), False)):
        change = gap(net(x), net(shuffled))
        assert change < 1e-10 if alike else change > 1e-4
    stem = small().get_submodule("stem")
    by_frame = torch.cat([stem(x[:, :, t : t + 1]) for t in range(9)], 2)
    torch.testing.assert_close(stem(x), by_frame, rtol=0, atol=1e-10)


@pytest.mark.parametrize("gates", ["two", "three"])
def test_gradient_reaches_everything(gates: str) -> None:
    torch.manual_seed(3)
    net = models.build("fusion_net_small", gates=gates, temperature=1.0).double().train()
    x, target = clip(8), torch.arange(8)
    loss = F.cross_entropy(net(x)[:, :8], target) + F.cross_entropy(net(x)[:, 8:], target)
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_a_training_step_lowers_the_loss() -> None:
    torch.manual_seed(4)
    net = models.build("fusion_net_small", question="motion").double().train()
    x, target = clip(8), torch.arange(8)
    open_gates = {gates: torch.ones(1, 2, dtype=torch.float64) for gates in gates_of(net)}

    def loss() -> Tensor:
        with forced_gates(open_gates):
            return F.cross_entropy(net(x), target) + fusion_regularizer(net, 1000)

    before = loss()
    before.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=1e-3)
    assert float(loss().detach()) < float(before.detach())


def test_options_make_the_facts() -> None:
    for question, count in (("both", 18), ("motion", 8), ("look", 10)):
        net = models.build("fusion_net_small", question=question)
        assert len(net.info.classes) == len(net.get_parameter("scores.weight")) == count
        assert sum(map(len, net.info.groups.values())) == count
        for group, outputs in net.info.groups.items():
            names = [net.info.classes[index] for index in outputs]
            assert names == (
                [f"digit {d}" for d in range(10)]
                if group == "look"
                else "left right up down growing shrinking clockwise counter-clockwise".split()
            )
    assert models.build("fusion_net_small").info.frames == 9
    assert models.build("fusion_net_small", halved=True).info.frames == 4
    net = models.build("fusion_net_small", temperature=0.5, drop_probability=[0.2, 0.3])
    for gates in gates_of(net):
        assert gates.temperature == 0.5
        torch.testing.assert_close(gates.drop_probability(), torch.tensor([0.2, 0.3]))
    net = models.build("fusion_net_small", gates="three")
    assert all(len(gates.units) == 3 for gates in gates_of(net))
    with torch.device("meta"):
        full = models.build("fusion_net", classes=7, frames=8, size=(64, 64))
    assert (len(full.info.classes), full.info.frames, full.info.size) == (7, 8, (64, 64))


def test_the_full_net_starts_as_in_the_paper() -> None:
    net = FusionNet(2, blocks=(1,), stem=2, growth=2, bottleneck=2)
    (gates,) = gates_of(net)
    assert gates.temperature == 0.2
    torch.testing.assert_close(gates.drop_probability(), torch.tensor([0.1, 0.1]))


def test_the_bundled_weights_do_what_the_card_says_and_need_the_order_of_frames() -> None:
    net = models.load("fusion_net_small")
    data = LookOrMotion(300, seed=987_654, split="validation")
    samples = [data[index] for index in range(len(data))]
    clips = net.info.normalize(torch.stack([sample.clip for sample in samples]))

    def right(clips: Tensor) -> dict[str, float]:
        with torch.no_grad():
            scores = net(clips)
        return {
            group: sum(
                int(row[outputs.start : outputs.stop].argmax()) == getattr(sample, group)
                for row, sample in zip(scores, samples, strict=True)
            )
            / len(samples)
            for group, outputs in net.info.groups.items()
        }

    found, backwards = right(clips), right(clips.flip(2))
    assert net.info.score is not None
    for group, score in net.info.score.items():
        assert abs(found[group] - score) < 3 * (score * (1 - score) / 300) ** 0.5 + 0.01
    assert backwards["look"] > 0.8
    assert backwards["motion"] < 0.05
    masks = torch.stack([sample.mask for sample in samples[:60]])[:, None]
    looks = torch.tensor([8 + sample.look for sample in samples[:60]])
    maps = VideoGradCam(net, net.info.layer).attribute(clips[:60], target=looks).clamp(min=0)
    assert float((maps * masks).sum() / maps.sum()) > 2 * float(masks.float().mean())
    strategy = current_strategy(net)
    assert strategy == most_probable_strategy(net)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: models.build("fusion_net_small", question="speed"),
            "question must be .*, got 'speed'",
        ),
        (lambda: models.build("fusion_net_small", conv="3d"), "conv must be .*, got '3d'"),
        (lambda: models.build("fusion_net_small", gates="four"), "gates must be .*, got 'four'"),
    ],
)
def test_unknown_options_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
