"""Python objects that options name as MODULE:ATTRIBUTE."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from captum_video._core.errors import close_matches
from captum_video.cli._errors import UsageError


def find(option: str, spec: str, form: str, example: str) -> Any:
    """Imports what an option names; modules of the current folder are found too.

    Args:
        option: the option, for messages.
        spec: its value, ``MODULE:ATTRIBUTE``; the attribute may have dots.
        form: how messages describe the value.
        example: a value that would do.

    Returns:
        The object.

    Raises:
        UsageError: if there is none; the message says how far the search got.
    """
    given = f"{option} {spec}"
    module_name, colon, attribute = spec.partition(":")
    if not (module_name and colon and attribute):
        raise UsageError(f"{given}: must be {form}, such as {example}")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UsageError(
                f"{given}: there is no module {error.name!r}; it must be installed or lie in the "
                "current folder"
            ) from error
        raise UsageError(f"{given}: importing {module_name} failed: {error}") from error
    except Exception as error:
        raise UsageError(
            f"{given}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in dir(found) if not name.startswith("_")]
            raise UsageError(
                f"{given}: {getattr(found, '__name__', found)} has no {part!r}. "
                f"{close_matches(part, names)}"
            )
        found = getattr(found, part)
    return found
