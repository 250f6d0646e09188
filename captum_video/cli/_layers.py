"""The ``layers`` command: which layers there are, what frames they cover, and which to choose."""

from __future__ import annotations

import argparse
import json
import traceback
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from captum_video import FeatureMapDecoder
from captum_video.cli._answers import axes, failure
from captum_video.cli._coverage import BEYOND, as_json, phrase
from captum_video.cli._errors import UsageError
from captum_video.cli._kind import Kind
from captum_video.cli._kinds import SKELETONS, VIDEOS, check_model, check_options
from captum_video.cli._model import Facts, load_model
from captum_video.cli._skeleton import ACTORS
from captum_video.cli._terminal import assumptions, complain, reason, say
from captum_video.io import KINECT_JOINTS
from captum_video.layers import LayerFacts, list_layers

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_PLUMBING = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    _DropoutNd,
    _NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
)
_COLUMNS = ("layer", "type", "output", "slices", "frames of a slice")
_BLANK = 96  # frames of a blank sequence, where the model does not say


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        facts: what it gives.
        mark: ``"*"`` for the layer that the model recommends, ``"a"`` for its attention.
        listed: whether it is worth choosing.
        decodable: whether the feature map decoder takes it; ``None`` of a model of videos.
    """

    facts: LayerFacts
    mark: str
    listed: bool
    decodable: bool | None = None

    @property
    def spatial(self) -> bool:
        """Whether Grad-CAM can show it on frames."""
        placed = self.facts.arrangement
        return self.facts.explainable and placed is not None and len(placed.space) == 2

    @property
    def grid(self) -> tuple[int, ...]:
        """The numbers of its slices along time and space, if it has space."""
        placed = self.facts.arrangement
        assert placed is not None
        return (placed.slices, *placed.shape[2 + placed.has_time :])

    @property
    def pooled(self) -> bool:
        """Whether all places are one."""
        return self.spatial and max(self.grid[1:]) == 1

    @property
    def lost(self) -> bool:
        """Whether it may have space and time, but nobody knows where: tokens, mostly."""
        placed = self.facts.arrangement
        known = placed is not None and (placed.has_time or bool(placed.space))
        return self.facts.calls == 1 and not known and len(self.facts.shape) > 2

    def verdict(self, frames: int) -> str:
        """Whether Grad-CAM, or of sequences the decoder, can use it, in words.

        Args:
            frames: how many the clip has.

        Returns:
            ``"yes"``, or what stands against it.
        """
        if self.decodable is not None:
            return "yes" if self.decodable else "no"
        if self.facts.calls > 1:
            return f"no: called {self.facts.calls} times"
        if self.lost:
            return "with --reshape"
        if not self.spatial:
            return "no: no space"
        if self.pooled:
            return "yes, but the same everywhere"
        return "yes" if self.facts.slices != 1 or frames == 1 else "yes, one map for all frames"


def show_layers(options: argparse.Namespace) -> int:
    """Runs ``captum-video layers``.

    Args:
        options: the parsed command line.

    Returns:
        The exit status: 0, or 1 if the clip cannot be read or the model cannot take it.

    Raises:
        UsageError: if the model cannot be had, or takes or answers something else.
    """
    skeletons = options.clip is not None and SKELETONS.holds(options.clip)
    model, facts, device = load_model(options, sequences=skeletons)
    kind = SKELETONS if skeletons or not facts.size else VIDEOS
    if options.clip is not None:
        check_model(facts, SKELETONS if skeletons else VIDEOS, options.model, options.clip)
    check_options(options, kind)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            inputs = _inputs(facts, options, kind).to(device)
            found = _found(model, inputs)
            rows = _rows(model, facts, found, _decodable(model, inputs))
    except UsageError:
        raise
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        complain(f"error: {reason(options.clip, error, options)}")
        return 1
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        complain(f"warning: {text}")
    shown = [row for row in rows if row.listed or options.all]
    if options.json:
        say(json.dumps(_as_json(shown, facts, inputs, options), indent=2, ensure_ascii=False))
        return 0
    if facts.assumed:
        say(f"{facts.name}: assuming {assumptions(facts)}")
    clip = "a blank clip" if options.clip is None else str(options.clip)
    say(f"{facts.name} on {clip}, {tuple(inputs.shape)} ({axes(inputs)})\n")
    say(_table(shown, inputs.shape[2]))
    say(_notes(rows, shown, options.all))
    return 0


def _inputs(facts: Facts, options: argparse.Namespace, kind: Kind[Any]) -> Tensor:
    if options.clip is not None:
        return kind.read(options.clip, facts, options)[1]
    if kind is SKELETONS:
        dimensions = (options.actors or ACTORS) * 3 * len(KINECT_JOINTS)
        return torch.zeros(1, dimensions, facts.frames or _BLANK)
    return torch.zeros(1, 1 if facts.grey else 3, facts.frames, *facts.size)


def _decodable(model: nn.Module, inputs: Tensor) -> set[str] | None:
    """The layers that the feature map decoder takes; ``None`` of a model of videos."""
    if inputs.dim() != 3:
        return None
    return {layer.name for layer in FeatureMapDecoder.layers(model, inputs)}


def _found(model: nn.Module, inputs: Tensor) -> list[LayerFacts]:
    try:
        return list_layers(model, (inputs,))
    except Exception as error:
        raise failure(error, inputs) from error


def _rows(
    model: nn.Module, facts: Facts, found: list[LayerFacts], decodable: set[str] | None
) -> list[Row]:
    modules = dict(model.named_modules())
    marks = {facts.attention: "a", facts.layer: "*"}
    every = {layer.name: Row(layer, marks.get(layer.name, ""), True) for layer in found}
    if decodable is not None:
        return [
            replace(row, listed=bool(row.mark) or name in decodable, decodable=name in decodable)
            for name, row in every.items()
        ]
    around = _around_transformers(every, modules)
    blocks = {
        name: row.grid
        for name, row in every.items()
        if row.spatial and name not in around and not isinstance(modules[name], _CONTAINERS)
    }
    return [
        replace(row, listed=bool(row.mark) or _worth(row, modules[name], blocks))
        for name, row in every.items()
    ]


def _around_transformers(rows: dict[str, Row], modules: dict[str, nn.Module]) -> set[str]:
    """The layers that hold a row of transformer blocks: they are no block, but the model."""
    attentive = {
        above
        for name, module in modules.items()
        if _attends(type(module).__name__)
        for above in (*_above(name), name)
    }
    places = [name.rpartition(".")[0] for name in attentive if name in rows and rows[name].spatial]
    rooms = {name for name in places if isinstance(modules[name], _CONTAINERS)}
    return {above for name in rooms if places.count(name) > 1 for above in _above(name)}


def _attends(kind: str) -> bool:
    return "attention" in kind.lower() or "attn" in kind.lower()


def _above(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _worth(row: Row, module: nn.Module, blocks: dict[str, tuple[int, ...]]) -> bool:
    """Whether a layer is one that a reader may want to choose.

    Containers give what their last layer gives, and a block says the same as the layers in it that
    see the clip on the same grid.
    """
    if isinstance(module, (*_CONTAINERS, *_PLUMBING)):
        return False
    above = _above(row.facts.name)
    if row.spatial:
        said = any(blocks.get(name) == row.grid for name in above)
        return not said and not row.pooled
    if any(name in blocks for name in above):
        return False
    return _attends(row.facts.kind) or row.lost


def _table(rows: list[Row], frames: int) -> str:
    videos = all(row.decodable is None for row in rows)
    cells = [("", *_COLUMNS, "Grad-CAM" if videos else "decoder")]
    for row in rows:
        layer, placed = row.facts, row.facts.arrangement
        coverage = None if placed is None else placed.coverage
        cells.append(
            (
                row.mark,
                layer.name,
                layer.kind,
                "x".join(map(str, layer.shape)),
                "?" if layer.slices is None else str(layer.slices),
                "?" if coverage is None else phrase(coverage),
                row.verdict(frames),
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join(lines)


def _notes(rows: list[Row], shown: list[Row], everything: bool) -> str:
    marks = {row.mark for row in shown}
    notes = [""]
    if "*" in marks:
        notes.append("*  what the model recommends for Grad-CAM")
    if "a" in marks:
        notes.append("a  the model's attention over frames")
    placed = [row.facts.arrangement for row in shown]
    coverages = [one.coverage for one in placed if one is not None and one.coverage is not None]
    if any(phrase(coverage).endswith(BEYOND) for coverage in coverages):
        notes.append("and beyond: attention, recurrence or a gate also brings in other frames")
    left = len(rows) - len(shown)
    if left and not everything:
        notes.append(f"{len(shown)} of {len(rows)} layers; --all lists the other {left} too")
    return "\n".join(notes if len(notes) > 1 else [])


def _as_json(
    rows: list[Row], facts: Facts, inputs: Tensor, options: argparse.Namespace
) -> dict[str, Any]:
    listed = []
    for row in rows:
        layer, placed = row.facts, row.facts.arrangement
        coverage = None if placed is None else placed.coverage
        listed.append(
            {
                "name": layer.name,
                "type": layer.kind,
                "shape": list(layer.shape),
                "calls": layer.calls,
                "time_slices": layer.slices,
                "coverage": None if coverage is None else as_json(coverage),
                "grad_cam": row.spatial,
                "verdict": row.verdict(inputs.shape[2]),
                "recommended": row.mark == "*",
                "attention": row.mark == "a",
                **({} if row.decodable is None else {"decodable": row.decodable}),
            }
        )
    return {
        "model": facts.name,
        "clip": None if options.clip is None else str(options.clip),
        "input": list(inputs.shape),
        "assumed": list(facts.assumed),
        "layers": listed,
    }
