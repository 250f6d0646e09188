"""Data sets of recorded videos, read from disk. Nothing is downloaded."""

from models.data.recorded._videos import Videos, VideoSample
from models.data.recorded.stream import Epochs

__all__ = [
    "Epochs",
    "VideoSample",
    "Videos",
]
