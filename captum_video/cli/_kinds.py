"""The kinds of clips that the command reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from captum_video.cli._errors import UsageError
from captum_video.cli._kind import Kind
from captum_video.cli._methods import METHODS
from captum_video.cli._model import Facts
from captum_video.cli._request import Method
from captum_video.cli._skeleton_output import SKELETONS
from captum_video.cli._video_output import VIDEOS

#: by name, as methods say what they read
KINDS: dict[str, Kind[Any]] = {kind.name: kind for kind in (VIDEOS, SKELETONS)}


def kind_of(options: argparse.Namespace, method: Method) -> Kind[Any]:
    """What kind of clips there are, as far as their names tell.

    Args:
        options: the parsed command line.
        method: the method that is to explain them.

    Returns:
        The kind.

    Raises:
        UsageError: if the method does not read them, or they are of several kinds.
    """
    chosen = None
    for path in options.clips:
        kind = next(kind for kind in KINDS.values() if kind.holds(path))
        if kind.name not in method.reads:
            others = [name for name, other in METHODS.items() if kind.name in other.reads]
            forms = " or ".join(f"{name} ({KINDS[name].form})" for name in method.reads)
            raise UsageError(
                f"{path}: --method {options.method} reads {forms}; "
                f"{kind.name} are read by {', '.join(others)}"
            )
        if chosen is not None and kind is not chosen:
            raise UsageError(
                f"{options.clips[0]} and {path}: {chosen.name} and {kind.name} cannot be explained "
                "at once"
            )
        chosen = kind
    assert chosen is not None
    return chosen


def check_options(options: argparse.Namespace, kind: Kind[Any]) -> None:
    """Refuses options about how clips are read that are for another kind.

    Args:
        options: the parsed command line.
        kind: what kind of clips there are.

    Raises:
        UsageError: if one is given.
    """
    for other in KINDS.values():
        for option in sorted(other.options - kind.options):
            given = getattr(options, option)
            if given is not None and given is not False:  # 0.0 is given, too
                raise UsageError(
                    f"--{option.replace('_', '-')} is for {other.name}, not for {kind.name}"
                )


def check_model(facts: Facts, kind: Kind[Any], model: str, clip: Path) -> None:
    """Refuses a model that says that it takes another kind of clips.

    Args:
        facts: what is known of the model.
        kind: what kind of clips there are.
        model: where it comes from.
        clip: one of the clips.

    Raises:
        UsageError: if it does.
    """
    takes = VIDEOS if facts.size else SKELETONS
    if takes is not kind:
        raise UsageError(
            f"--model {model}: {facts.name} takes {takes.name} ({takes.form}), not {kind.name} such "
            f"as {clip}"
        )
