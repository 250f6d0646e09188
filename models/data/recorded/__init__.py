"""Data sets of recorded videos, read from disk. Nothing is downloaded."""

from models.data.recorded._videos import Videos, VideoSample
from models.data.recorded.folders import ClassFolders
from models.data.recorded.listed import ListedVideos
from models.data.recorded.stream import Epochs

__all__ = [
    "ClassFolders",
    "Epochs",
    "ListedVideos",
    "VideoSample",
    "Videos",
]
