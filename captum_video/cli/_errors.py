"""What the command can tell its user."""

from __future__ import annotations


class UsageError(Exception):
    """The command was called in a way that cannot work for any clip; exit status 2."""


class ModelError(Exception):
    """The model cannot take or answer this clip; exit status 1 after the other clips."""
