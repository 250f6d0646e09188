"""Figures about explanations: how much motion counts, and whether relevance lies where it should."""

from captum_video.metrics.localization import density
from captum_video.metrics.temporal import temporal_share

__all__ = ["density", "temporal_share"]
