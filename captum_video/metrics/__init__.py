"""Figures about explanations: where relevance lies, how much motion counts, what is diagnosed."""

from captum_video.metrics.localization import density
from captum_video.metrics.sequences import (
    Signatures,
    ViewDistance,
    amplification,
    joint_motion,
    rank_correlation,
    response_profiles,
    signature,
    view_distance,
)
from captum_video.metrics.temporal import temporal_share

__all__ = [
    "Signatures",
    "ViewDistance",
    "amplification",
    "density",
    "joint_motion",
    "rank_correlation",
    "response_profiles",
    "signature",
    "temporal_share",
    "view_distance",
]
