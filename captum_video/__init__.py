"""Explain video models with Captum: what they looked at, where, when, and appearance or motion."""

from captum_video.attr import (
    DeepTaylor,
    DiscriminativeRelevance,
    FrozenFrames,
    RelevanceComponents,
    SelectiveRelevance,
)
from captum_video.relevance import UnsupportedOperationError, normalized_range

__version__ = "0.1.0"

__all__ = [
    "DeepTaylor",
    "DiscriminativeRelevance",
    "FrozenFrames",
    "RelevanceComponents",
    "SelectiveRelevance",
    "UnsupportedOperationError",
    "normalized_range",
]
