"""Attribution classes, one file each."""

from captum_video.attr.deep_taylor import DeepTaylor
from captum_video.attr.discriminative import (
    DiscriminativeRelevance,
    FrozenFrames,
    RelevanceComponents,
)
from captum_video.attr.selective import SelectiveRelevance

__all__ = [
    "DeepTaylor",
    "DiscriminativeRelevance",
    "FrozenFrames",
    "RelevanceComponents",
    "SelectiveRelevance",
]
