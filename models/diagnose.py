"""Diagnoses a Res-TCN: which classes it cannot tell, and which joints to target.

``python -m models.diagnose res_tcn_small`` (paper 5, sections 4.1 and 5.2, with numbers in place of
looking): on fresh clips of ``models.data.Actions`` it measures accuracy and confusion, which joints each
layer amplifies or loses, how characteristic the filter responses of each class are, and how far apart
the three cameras' views are. From labels, answers, inputs and decoded sequences alone it proposes
the joints that ``python -m models.train ms_res_tcn_small --target-joints FOLDER/diagnosis.json`` attends
to. With ``--compare`` it sets another net beside it, clip by clip.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from captum_video._core.devices import find_device
from captum_video._core.files import folder_written_whole
from captum_video._core.skeletons import KINECT_JOINTS
from models._diagnosis_compare import gains
from models._diagnosis_evidence import BATCH, MOST_SEED, all_answers, gather
from models._diagnosis_net import Net, chosen_layers, open_net, untrained
from models._diagnosis_report import write_report
from models._diagnosis_results import Diagnosis
from models.data.actions import Actions
from models.training.memory import keep_freed_memory

#: added to ``--seed``, so that no clip is one of those that the trainer trains, selects or scores with
CLIPS_SEED = 3_000_003
#: clips that the untrained net is given
CONTROL = 256
LEAST_COUNT = 32
#: time grows with the square of the count, memory with the count
MOST_COUNT = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit code: 0, also if nothing is proposed; 2 for bad arguments, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        _check(options)
        output = options.output or Path("diagnosis") / options.name
        with folder_written_whole(output, overwrite=options.overwrite) as folder:
            device = find_device(options.device)
            net = open_net(options.name, options.weights, device)
            data = Actions(
                options.count, options.seed + CLIPS_SEED, "validation", frames=net.info.frames
            )
            diagnosis = diagnose(net, data, options)
            write_report(diagnosis, net, data, folder)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; nothing was written.", file=sys.stderr)
        return 130
    print(diagnosis.proposal.reason)
    print(f"wrote {output}/report.md and {output}/diagnosis.json")
    return 0


def diagnose(net: Net, data: Actions, options: argparse.Namespace) -> Diagnosis:
    """Gathers the evidence of one net and of an untrained one, and the answers of the other.

    Args:
        net: the net.
        data: the clips.
        options: the parsed command line.

    Returns:
        The diagnosis.

    Raises:
        ValueError: a layer or the other net does not exist, or does not fit.
    """
    layers = chosen_layers(net, options.layers)
    other = None
    if options.compare is not None:
        other = open_net(options.compare, options.compare_weights, net.mean.device)
    quiet = False if options.quiet else None
    evidence = gather(net, layers, data, show_progress=quiet)
    settings: dict[str, Any] = {
        "model": options.name,
        "weights": str(options.weights) if options.weights else "bundled",
        "seed": options.seed,
        "count": options.count,
        "frames": data.frames,
    }
    some = Actions(min(CONTROL, len(data)), data.seed, data.split, frames=data.frames)
    clips = torch.stack([some[index].clip for index in range(min(BATCH, len(some)))])
    control = gather(untrained(net, clips), layers, some, what="control", show_progress=quiet)
    first = Diagnosis(settings, net.info.classes, evidence, options.joints, control)
    if other is None:
        return first
    rows = gains(
        evidence.labels,
        evidence.predicted,
        all_answers(other, data),
        net.info.classes,
        first.weak,
    )
    name = f"{options.compare} ({options.compare_weights or 'bundled'})"
    return replace(first, compared=(name, rows))


def _check(options: argparse.Namespace) -> None:
    """Refuses numbers that are out of range."""
    for name, value, low, high in (
        ("--seed", options.seed, 0, MOST_SEED),
        ("--count", options.count, LEAST_COUNT, MOST_COUNT),
        ("--joints", options.joints, 1, len(KINECT_JOINTS)),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, got {value}.")
    if options.compare_weights is not None and options.compare is None:
        raise ValueError("--compare-weights needs --compare, the model that they are for.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.diagnose", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("name", help="a Res-TCN or MS-Res-TCN, such as res_tcn_small")
    add("--weights", type=Path, help="a file of weights (default: those of the checkout)")
    add("--seed", type=int, default=0, help="of the clips (default: 0)")
    add("--count", type=int, default=800, help="of clips (default: 800)")
    add("--joints", type=int, default=8, help="how many to propose at most (default: 8)")
    add("--layers", nargs="+", help="numbers or dotted names (default: all of the main stream)")
    add("--output", type=Path, help="folder to write (default: diagnosis/NAME)")
    add("--compare", metavar="OTHER", help="another model, measured on the same clips")
    add("--compare-weights", type=Path, help="its weights (default: those of the checkout)")
    add("--device", default="auto", help="cpu, cuda, ... (default: CUDA if there is any)")
    add("--overwrite", action="store_true", help="replace the output folder")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
