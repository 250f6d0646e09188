"""Explain video models with Captum: what they looked at, where, when, and appearance or motion."""

from captum_video.attr import (
    AttendedFrames,
    DeepTaylor,
    DiscriminativeRelevance,
    FeatureMapDecoder,
    FrameAttention,
    FrozenFrames,
    FusionPosterior,
    RegressionGradCam,
    RelevanceComponents,
    SelectiveRelevance,
    TemporalParameters,
    VideoGradCam,
)
from captum_video.nn.wrapping import wrap_model
from captum_video.relevance import UnsupportedOperationError, normalized_range

__version__ = "0.1.0"

__all__ = [
    "AttendedFrames",
    "DeepTaylor",
    "DiscriminativeRelevance",
    "FeatureMapDecoder",
    "FrameAttention",
    "FrozenFrames",
    "FusionPosterior",
    "RegressionGradCam",
    "RelevanceComponents",
    "SelectiveRelevance",
    "TemporalParameters",
    "UnsupportedOperationError",
    "VideoGradCam",
    "normalized_range",
    "wrap_model",
]
