"""Data sets of recorded videos, read from disk. Nothing is downloaded."""

from models.data.recorded._videos import Videos, VideoSample
from models.data.recorded.folders import ClassFolders
from models.data.recorded.hmdb51 import HMDB51
from models.data.recorded.jester import Jester
from models.data.recorded.kitti import KittiOdometry, KittiSnippet
from models.data.recorded.listed import ListedVideos
from models.data.recorded.stream import Epochs
from models.data.recorded.ucf101 import UCF101

__all__ = [
    "HMDB51",
    "UCF101",
    "ClassFolders",
    "Epochs",
    "Jester",
    "KittiOdometry",
    "KittiSnippet",
    "ListedVideos",
    "VideoSample",
    "Videos",
]
