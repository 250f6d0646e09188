"""Equal to zennit, an independent implementation, where the two mean the same.

They mean the same under ``bias="absorb"`` (zennit keeps positive biases in the positive denominator
and negative ones in the negative), on clips without ties in pooling (zennit follows the gradient,
which gives a tie to one winner; here it is shared), and on units that have contributions of both
signs. A unit of one sign only passes alpha times its relevance (or minus beta times) in zennit and
all of it here, so for alpha = 2 the tests make sure that no such unit carries relevance. Zennit adds
a stabiliser to every denominator, lowered here to 1e-12; its w-squared and flat rules count biases as
inputs unless told not to; and an average is divided in proportion to what went in by its ``Norm``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import Epsilon, Flat, Rule, WSquare
from tests.relevance._tools import assert_same, explain, randomise, uniform

zennit: Any = pytest.importorskip("zennit")
from zennit import attribution, composites, rules, types  # noqa: E402

STABILIZER = 1e-12


def c3d(average: bool = False, activation: Any = nn.ReLU) -> nn.Sequential:
    """Two convolutions a stage, pools of different shape, two linear layers, biases everywhere."""
    net = nn.Sequential(
        nn.Conv3d(3, 6, 3, padding=1),
        activation(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(6, 8, 3, padding=1),
        activation(),
        nn.Conv3d(8, 8, (3, 3, 2), stride=(1, 2, 1), padding=1),
        activation(),
        nn.AvgPool3d(2) if average else nn.MaxPool3d(2, padding=(0, 1, 1)),
        nn.Flatten(),
        nn.Linear(8 * 2 * (1 if average else 2) * (2 if average else 3), 10),
        activation(),
        nn.Linear(10, 4),
    )
    randomise(net, 3)
    return net


def by_zennit(net: nn.Module, x: Tensor, seed: Tensor, first: Any, others: Any) -> Tensor:
    composite = composites.SpecialFirstLayerMapComposite(
        layer_map=[
            (types.Activation, rules.Pass()),
            (types.AvgPool, rules.Norm(stabilizer=STABILIZER)),
            (types.Linear, others),
        ],
        first_map=[(types.Linear, first)],
    )
    with attribution.Gradient(model=net, composite=composite) as attributor:
        _, relevance = attributor(x, seed)
    return relevance.detach()


def has_units_of_one_sign(net: nn.Sequential, x: Tensor) -> bool:
    """Whether a unit behind the first layer gets contributions (or a bias) of one sign only."""
    found = False
    for layer in net:
        if isinstance(layer, (nn.Conv3d, nn.Linear)) and layer is not net[0]:
            above, below = x.clamp(min=0), x.clamp(max=0)
            up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
            assert layer.bias is not None
            sums = []
            for a, b, bias in (
                (up, down, layer.bias.clamp(min=0)),
                (down, up, layer.bias.clamp(max=0)),
            ):
                if isinstance(layer, nn.Conv3d):
                    sums.append(
                        layer._conv_forward(above, a, bias) + layer._conv_forward(below, b, None)
                    )
                else:
                    sums.append(F.linear(above, a, bias) + F.linear(below, b))
            found = found or bool((sums[0] == 0).any() or (sums[1] == 0).any())
        x = layer(x)
    return found


def setting() -> tuple[Tensor, Tensor]:
    seed = torch.zeros(2, 4, dtype=torch.float64)
    seed[0, 1], seed[1, 2] = 1, -0.5
    return uniform(2, 3, 4, 8, 8, seed=4), seed


@pytest.mark.parametrize("average", [False, True], ids=["max", "average"])
@pytest.mark.parametrize(("alpha", "beta"), [(1, 0), (2, 1)])
def test_alpha_beta_and_z_beta(alpha: int, beta: int, average: bool) -> None:
    net, (x, seed) = c3d(average), setting()
    with torch.no_grad():
        assert alpha == 1 or not has_units_of_one_sign(net, x)
    result = explain(net, x, seed=seed, alpha=alpha, beta=beta, input_range=(0, 1))
    expected = by_zennit(
        net,
        x,
        seed,
        rules.ZBox(low=0.0, high=1.0, stabilizer=STABILIZER),
        rules.AlphaBeta(alpha=float(alpha), beta=float(beta), stabilizer=STABILIZER),
    )
    assert_same(result.relevance, expected, 1e-9)
    single = explain(
        net.float(), x.float(), seed=seed.float(), alpha=alpha, beta=beta, input_range=(0, 1)
    )
    assert_same(single.relevance.double(), expected, 1e-4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (WSquare(), rules.WSquare(stabilizer=STABILIZER, zero_params="bias")),
        (Flat(), rules.Flat(stabilizer=STABILIZER, zero_params="bias")),
        (Epsilon(0.1), rules.Epsilon(epsilon=0.1)),
    ],
    ids=["w2", "flat", "epsilon"],
)
def test_other_rules(ours: Rule, theirs: Any) -> None:
    # these rules give relevance to zeros too, and windows of nothing but zeros are ties
    net, (x, seed) = c3d(activation=nn.Sigmoid), setting()
    result = explain(net, x, seed=seed, rules={"first": ours, nn.Conv3d: ours, nn.Linear: ours})
    assert_same(result.relevance, by_zennit(net, x, seed, theirs, theirs), 1e-9)


def test_range_of_each_channel() -> None:
    net, (x, seed) = c3d(), setting()
    low, high = torch.tensor([-0.5, 0.0, -1.0]), torch.tensor([1.0, 1.5, 3.0])
    result = explain(net, x, seed=seed, input_range=(low, high))
    ends = [end.double().view(1, 3, 1, 1, 1).expand(x.shape) for end in (low, high)]
    expected = by_zennit(
        net,
        x,
        seed,
        rules.ZBox(low=ends[0], high=ends[1], stabilizer=STABILIZER),
        rules.AlphaBeta(alpha=1.0, beta=0.0, stabilizer=STABILIZER),
    )
    assert_same(result.relevance, expected, 1e-9)
