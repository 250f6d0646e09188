"""How relevance flows: a recorded forward pass, rules for its units, and the way back."""

from captum_video.relevance.errors import UnsupportedOperationError
from captum_video.relevance.frozen import freeze_frame, frozen_clips
from captum_video.relevance.propagation import Recording, record
from captum_video.relevance.ranges import normalized_range
from captum_video.relevance.rules import AlphaBeta, Epsilon, Flat, Rule, WSquare, ZBeta
from captum_video.relevance.settings import Settings

__all__ = [
    "AlphaBeta",
    "Epsilon",
    "Flat",
    "Recording",
    "Rule",
    "Settings",
    "UnsupportedOperationError",
    "WSquare",
    "ZBeta",
    "freeze_frame",
    "frozen_clips",
    "normalized_range",
    "record",
]
