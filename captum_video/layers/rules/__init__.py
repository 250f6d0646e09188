"""What torch functions do to the axes of their arguments."""

from captum_video.layers.rules.table import IGNORED, LIKES, find

__all__ = ["IGNORED", "LIKES", "find"]
