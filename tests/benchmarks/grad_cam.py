"""VideoGradCam on a CNN-LSTM against a plain pass and against the report's loop over frames."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor

import models
from captum_video import VideoGradCam
from models.cnn_lstm import CNNLSTM

ROUNDS = 5
FRAMES = 16


def copies_in_one_pass(net: CNNLSTM, clip: Tensor) -> Tensor:
    """A copy of the CNN for each frame, all of them in one forward and one backward pass."""
    cnns = [copy.deepcopy(net.cnn) for _ in range(clip.shape[2])]
    maps = [cnn(clip[:, :, t]) for t, cnn in enumerate(cnns)]
    return _weighted(maps, _score(net, maps))


def a_pass_for_each_copy(net: CNNLSTM, clip: Tensor) -> Tensor:
    """A copy of the CNN for each frame, and for each copy a forward and a backward pass."""
    found = []
    for t in range(clip.shape[2]):
        cnn = copy.deepcopy(net.cnn)
        mine = cnn(clip[:, :, t])
        with torch.no_grad():
            others = net.cnn(clip.transpose(1, 2).flatten(0, 1))
        maps = list(others.unsqueeze(1).unbind(0))
        maps[t] = mine
        (gradient,) = torch.autograd.grad(_score(net, maps), mine)
        found.append((gradient.mean((2, 3), keepdim=True) * mine).sum(1, keepdim=True))
    return torch.stack(found, 2).detach()


def _score(net: CNNLSTM, maps: list[Tensor]) -> Tensor:
    states, _ = net.lstm(torch.stack([m.mean((2, 3)) for m in maps], 1))
    last = states[:, -1]
    if net.attention is not None:
        last, _ = net.attention(last, states)
    return net.head(last)[:, 0].sum()


def _weighted(maps: list[Tensor], score: Tensor) -> Tensor:
    gradients = torch.autograd.grad(score, maps)
    pairs = zip(gradients, maps, strict=True)
    cams = [(g.mean((2, 3), keepdim=True) * m).sum(1, keepdim=True) for g, m in pairs]
    return torch.stack(cams, 2).detach()


def main() -> None:
    """Prints the table: the best of interleaved rounds, so that all see the same machine."""
    torch.manual_seed(0)
    net = models.build("cnn_lstm_attention").eval()
    assert isinstance(net, CNNLSTM)
    clip = torch.rand(1, 3, FRAMES, 112, 112)
    cam = VideoGradCam(net, "cnn", temporal_pooling="frame")

    def plain() -> None:
        parameters = list(net.parameters())
        torch.autograd.grad(net(clip)[:, 0].sum(), parameters)

    def plain_to_input() -> None:
        leaf = clip.clone().requires_grad_()
        torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)

    runs: dict[str, Callable[[], object]] = {
        "plain forward + backward (to the parameters)": plain,
        "plain forward + backward (to the clip)": plain_to_input,
        "VideoGradCam, upsampled": lambda: cam.attribute(clip, target=0),
        "VideoGradCam, upsample=False": lambda: cam.attribute(clip, target=0, upsample=False),
        "a copy for each frame, one pass": lambda: copies_in_one_pass(net, clip),
        "a copy and a pass for each frame": lambda: a_pass_for_each_copy(net, clip),
    }
    low = cam.attribute(clip, target=0, upsample=False)
    for loop in (copies_in_one_pass, a_pass_for_each_copy):
        apart = (loop(net, clip) - low).abs().max() / low.abs().max()
        print(f"{loop.__name__}: largest difference from VideoGradCam {apart:.1e} of the maximum")
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    base = best["plain forward + backward (to the clip)"]
    print(
        f"\nResNet18 per frame, LSTM, attention; one clip 3x{FRAMES}x112x112, "
        f"{torch.get_num_threads()} threads, best of {ROUNDS}\n"
    )
    print("| run | seconds | of plain |")
    print("|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.3f} | {seconds / base:.2f} |")
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
