"""A traced forward pass gives what a plain one gives, in every mode and thread."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.layers.tracing import Trace
from tests.layers._twin import strict_trace, text
from tests.layers.test_tracing import shown

D = torch.float64


def clip(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=D)


class Net(nn.Module):
    """Frames one by one through a small net with a residual sum in place, then an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        y = x.transpose(1, 2).reshape(n * t, c, h, w)
        y = F.relu(self.norm(self.stem(y)), inplace=True)
        y = self.conv(y).add_(y)
        y = F.adaptive_avg_pool2d(y, 1).view(n, t, -1)
        return self.head(self.lstm(y)[0].mean(1))


def gradients(net: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    net.zero_grad()
    output = net(x)
    output[:, 0].sum().backward()
    assert x.grad is not None
    return [output, x.grad, *(p.grad for p in net.parameters() if p.grad is not None)]


@pytest.mark.parametrize("training", [False, True])
def test_nothing_changes(training: bool) -> None:
    torch.manual_seed(0)
    net, x = Net().train(training), torch.rand(2, 3, 4, 6, 6)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    plain = gradients(net, x)
    net.load_state_dict(state)
    with Trace((x,)) as trace:
        traced = gradients(net, x)
    assert not trace.unknown
    assert len(plain) == len(traced)
    assert all(torch.equal(a, b) for a, b in zip(plain, traced, strict=True))


def test_random_numbers_stay_the_same() -> None:
    x = torch.rand(2, 3)
    torch.manual_seed(1)
    plain = F.dropout(x, 0.5)
    torch.manual_seed(1)
    with strict_trace(x):
        traced = F.dropout(x, 0.5)
    assert torch.equal(plain, traced)


def test_two_threads() -> None:
    torch.manual_seed(0)
    net = Net().eval()
    found: dict[int, list[str]] = {}
    barrier = threading.Barrier(2)

    def work(frames: int) -> None:
        x = torch.rand(2, 3, frames, 6, 6)
        seen = []
        for _ in range(10):
            barrier.wait()
            with strict_trace(x) as trace:
                y = x.transpose(1, 2).flatten(0, 1)
                net(x)
                layout = trace.layout(y)
            seen.append("lost" if layout is None else f"{text(layout)} {layout.shape}")
        found[frames] = seen

    threads = [threading.Thread(target=work, args=(frames,)) for frames in (3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for frames in (3, 5):
        assert found[frames] == [f"0*2, 1, 3, 4 {(2 * frames, 3, 6, 6)}"] * 10


def test_inside_inference_mode_and_functorch() -> None:
    x = torch.rand(4, 3)
    with torch.inference_mode(), strict_trace(x) as trace:
        y = x.clone().add_(1)[:, 1:]
        assert shown(trace, y) == "0, 1"
    with strict_trace(x) as trace:
        mapped = torch.vmap(lambda row: row.flip(0))(x)
        assert torch.equal(mapped, x.flip(1))
        assert trace.layout(mapped) is None
