from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import models
from captum_video import FrameAttention
from models.cnn_lstm import AdditiveAttention, small_cnn
from models.data import Events

NAMES = ("cnn_lstm", "cnn_lstm_attention", "cnn_lstm_small", "cnn_lstm_attention_small")
SMALL = NAMES[2:]
CLIPS = 120
FRESH_SEED = 987_654


def exact(name: str, seed: int = 0) -> Any:
    """A fresh net in float64 and in evaluation mode, its batch norms as if trained."""
    torch.manual_seed(seed)
    net = models.build(name).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return net


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def additive_attention_by_hand(
    module: AdditiveAttention, query: Tensor, keys: Tensor
) -> tuple[list[list[float]], list[list[float]]]:
    """Context and weights of every clip, number by number."""
    w, b = module.query.weight.tolist(), module.query.bias.tolist()
    u, v = module.key.weight.tolist(), module.energy.weight.tolist()[0]
    contexts, weights = [], []
    for q, ks in zip(query.tolist(), keys.tolist(), strict=True):
        energies = []
        for k in ks:
            energy = 0.0
            for row, (w_row, u_row) in enumerate(zip(w, u, strict=True)):
                total = b[row]
                for column in range(len(q)):
                    total += w_row[column] * q[column] + u_row[column] * k[column]
                energy += v[row] * math.tanh(total)
            energies.append(energy)
        shares = [math.exp(e) for e in energies]
        shares = [share / sum(shares) for share in shares]
        weights.append(shares)
        contexts.append([sum(a * k[d] for a, k in zip(shares, ks, strict=True)) for d in range(5)])
    return contexts, weights


@pytest.mark.parametrize("hidden", [None, 3])
def test_attention_is_its_formula(hidden: int | None) -> None:
    torch.manual_seed(0)
    module = AdditiveAttention(5, hidden).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    query = torch.randn(3, 5, dtype=torch.float64)
    keys = torch.randn(3, 4, 5, dtype=torch.float64)
    expected = additive_attention_by_hand(module, query, keys)
    for found, numbers in zip(module(query, keys), expected, strict=True):
        torch.testing.assert_close(found, torch.tensor(numbers, dtype=torch.float64))
    assert set(dict(module.named_parameters())) == {
        *("query.weight", "query.bias", "key.weight", "energy.weight")
    }


def test_equal_keys_get_equal_weights_and_a_context_that_is_the_key() -> None:
    module = AdditiveAttention(6).double()
    key = torch.randn(2, 1, 6, dtype=torch.float64)
    context, weights = module(torch.randn(2, 6, dtype=torch.float64), key.expand(2, 8, 6))
    torch.testing.assert_close(weights, torch.full((2, 8), 1 / 8, dtype=torch.float64))
    torch.testing.assert_close(context, key[:, 0])
    assert not [name for name in vars(module) if isinstance(vars(module)[name], Tensor)]


@pytest.mark.parametrize("name", SMALL)
def test_the_net_is_a_loop_over_frames(name: str) -> None:
    """Clip by clip and frame by frame, with the LSTM's recursion written out."""
    net = exact(name)
    clips = torch.randn(3, 3, 5, 48, 48, dtype=torch.float64)
    rows = []
    for clip in clips:
        h, c = torch.zeros(2, 64, dtype=torch.float64)
        states = []
        for t in range(5):
            f = net.pool[2](net.cnn(clip[None, :, t]).amax((2, 3)))[0]
            gates = net.lstm.weight_ih_l0 @ f + net.lstm.bias_ih_l0
            gates = gates + net.lstm.weight_hh_l0 @ h + net.lstm.bias_hh_l0
            i, forget, g, o = gates.chunk(4)
            c = forget.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        last = states[-1]
        if net.attention is not None:
            last = net.attention(last[None], torch.stack(states)[None])[0][0]
        rows.append(net.head.weight @ last + net.head.bias)
    torch.testing.assert_close(net(clips), torch.stack(rows))


def test_the_query_is_the_last_state_over_all_states() -> None:
    net = exact("cnn_lstm_attention_small")
    seen: dict[str, Any] = {}
    net.lstm.register_forward_hook(lambda _m, _args, output: seen.update(states=output[0]))
    net.attention.register_forward_hook(
        lambda _m, args, output: seen.update(query=args[0], keys=args[1], output=output)
    )
    net.head.register_forward_pre_hook(lambda _m, args: seen.update(head=args[0]))
    clips = torch.randn(2, 3, 7, 48, 48, dtype=torch.float64)
    net(clips)
    assert torch.equal(seen["query"], seen["states"][:, -1])
    assert torch.equal(seen["keys"], seen["states"])
    context, weights = seen["output"]
    assert torch.equal(seen["head"], context)
    assert weights.shape == (2, 7)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(FrameAttention(net, net.info.attention).attribute(clips), weights)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_everything(name: str) -> None:
    torch.manual_seed(1)
    net = models.build(name)
    net(torch.randn(4, 3, 6, 48, 48)).square().sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().max()) > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_facts(name: str) -> None:
    with torch.device("meta"):
        net = models.build(name)
    info = net.info
    assert info.name == name
    assert info.frames == 16
    assert info.attention == ("attention" if "attention" in name else None)
    if info.attention:
        assert isinstance(net.get_submodule(info.attention), AdditiveAttention)
    net.get_submodule(info.layer)
    assert info.score is None
    assert sum(len(group) for group in info.groups.values()) == len(info.classes)


def test_the_papers_nets_have_their_parts() -> None:
    with torch.device("meta"):
        plain, attentive = (models.build(name) for name in NAMES[:2])
        assert models.build("cnn_lstm", classes=7).get_submodule("head").out_features == 7
    # ResNet18 without its classifier, an LSTM from 512 to 100, 51 classes
    lstm = 4 * 100 * (512 + 100 + 2)
    assert count(plain) == 11_176_512 + lstm + 101 * 51
    assert count(attentive) - count(plain) == 100 * 100 + 100 + 100 * 100 + 100
    assert plain.info.size == (224, 224)


def test_resnet18_sees_every_frame_alone() -> None:
    net = exact("cnn_lstm_attention")
    clips = torch.randn(2, 3, 3, 64, 64, dtype=torch.float64)
    maps: list[Tensor] = []
    net.get_submodule(net.info.layer).register_forward_hook(lambda _m, _a, out: maps.append(out))
    with torch.no_grad():
        scores = net(clips)
        features = torch.stack([net.cnn(clips[:, :, t]).mean((2, 3)) for t in range(3)], 1)
        states, _ = net.lstm(features)
        context, _ = net.attention(states[:, -1], states)
        torch.testing.assert_close(scores, net.head(context))
    assert maps[0].shape == (6, 512, 2, 2)


def test_pretrained_weights_come_from_the_disk_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import resnet18

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_: pytest.fail("a download"))
    with pytest.raises(
        FileNotFoundError, match=r"no ImageNet weights.*resnet18-\w+\.pth: put http"
    ):
        models.build("cnn_lstm", pretrained=True)
    (tmp_path / "checkpoints").mkdir()
    source = resnet18()
    torch.save(source.state_dict(), tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    net = models.build("cnn_lstm", pretrained=True)
    state, expected = net.get_submodule("cnn").state_dict(), source.state_dict()
    assert set(expected) - set(state) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, expected[key]) for key, value in state.items())


def test_torchvision_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match=r"cnn_lstm needs torchvision.*\[models\]"):
        models.build("cnn_lstm")


def test_the_small_nets_are_alike_but_for_attention() -> None:
    nets = []
    for name in SMALL:
        torch.manual_seed(3)
        nets.append(models.build(name))
    plain, attentive = (dict(net.named_parameters()) for net in nets)
    assert {key for key in attentive if key not in plain} == {
        *("attention.query.weight", "attention.query.bias"),
        *("attention.key.weight", "attention.energy.weight"),
    }
    assert torch.equal(plain["cnn.stage1.0.weight"], attentive["cnn.stage1.0.weight"])
    for net in nets:
        bias = net.get_submodule("lstm").bias_hh_l0
        assert isinstance(bias, Tensor)
        assert bool((bias[64:128] == 1).all())
        assert bool((bias[:64].abs() < 0.2).all())


def test_the_small_cnn_keeps_places() -> None:
    torch.manual_seed(0)
    cnn = small_cnn().eval()
    with torch.no_grad():
        blank = cnn(torch.zeros(1, 3, 48, 48))
        assert blank.shape == (1, 48, 12, 12)
        dot = torch.zeros(1, 3, 48, 48)
        dot[..., 33, 10] = 5
        changed = (cnn(dot) - blank).abs().sum(1)[0].nonzero()
    middle = (changed.max(0).values + changed.min(0).values) / 2
    assert (middle - torch.tensor([33 / 4, 10 / 4])).abs().max() <= 0.75
    spread = changed.max(0).values - changed.min(0).values
    assert int(spread.max()) <= 6
    with torch.device("meta"):
        sizes = [m.out_channels for m in small_cnn((2, 3)).modules() if isinstance(m, nn.Conv2d)]
    assert sizes == [2, 3]


@pytest.fixture(scope="module")
def fresh() -> list[Any]:
    """Clips that no training, validation or score has seen."""
    data = Events(CLIPS, seed=FRESH_SEED, split="validation")
    return [data[index] for index in range(CLIPS)]


@pytest.mark.parametrize("name", SMALL)
def test_bundled_weights_do_as_their_card_says(name: str, fresh: list[Any]) -> None:
    net = models.load(name)
    clips = net.info.normalize(torch.stack([sample.clip for sample in fresh]))
    labels = torch.tensor([sample.event for sample in fresh])
    stated = net.info.score
    assert stated is not None
    with torch.no_grad():
        right = float((net(clips).argmax(1) == labels).float().mean())
        # with the event taken out by its own background nothing tells the label
        hidden = clips.clone()
        for row, sample in enumerate(fresh):
            hidden[row][:, sample.frames] = clips[row][:, ~sample.frames][:, :1]
        blind = float((net(hidden).argmax(1) == labels).float().mean())
    deviation = (stated["event"] * (1 - stated["event"]) / CLIPS) ** 0.5
    assert abs(right - stated["event"]) < 3 * deviation + 0.01
    assert blind < 0.25
