"""What torch functions do to the axes of their arguments."""

from captum_video.layers.rules.table import IGNORED, find

__all__ = ["IGNORED", "find"]
