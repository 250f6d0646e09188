"""The operations that relevance can pass, and the table that finds them by name."""

from captum_video.relevance.operations.call import Call, Entry, floating, modules_around
from captum_video.relevance.operations.table import find

__all__ = ["Call", "Entry", "find", "floating", "modules_around"]
