"""The ``captum-video`` command."""

from captum_video.cli._main import main

__all__ = ["main"]
