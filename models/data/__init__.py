"""Data sets that the bundled models are trained on."""

from models.data.actions import Actions, ActionSample
from models.data.drives import Drives, Snippet
from models.data.events import Event, Events
from models.data.exercises import Exercise, Exercises
from models.data.look_or_motion import LookOrMotion, LookOrMotionSample
from models.data.moving_digits import MovingDigits, Sample
from models.data.ntu import NTU, NTUSample
from models.data.recorded import (
    HMDB51,
    UCF101,
    ClassFolders,
    Epochs,
    Jester,
    KittiOdometry,
    KittiSnippet,
    ListedVideos,
    Videos,
    VideoSample,
)
from models.data.video_mnist import DigitVideo, VideoMNIST

__all__ = [
    "HMDB51",
    "NTU",
    "UCF101",
    "ActionSample",
    "Actions",
    "ClassFolders",
    "DigitVideo",
    "Drives",
    "Epochs",
    "Event",
    "Events",
    "Exercise",
    "Exercises",
    "Jester",
    "KittiOdometry",
    "KittiSnippet",
    "ListedVideos",
    "LookOrMotion",
    "LookOrMotionSample",
    "MovingDigits",
    "NTUSample",
    "Sample",
    "Snippet",
    "VideoMNIST",
    "VideoSample",
    "Videos",
]
