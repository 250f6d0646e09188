"""Pictures of relevance, of channels and of temporal parameters. Figures are plain objects."""

from captum_video.visualization._channel import channel_figure
from captum_video.visualization._colour import SIGNED, clip_map, robust_maximum, signed_colours
from captum_video.visualization._distributions import (
    parameters_by_depth,
    temporal_distributions,
)
from captum_video.visualization._fusion import fusion_probabilities
from captum_video.visualization._overlay import overlay
from captum_video.visualization._panels import side_by_side
from captum_video.visualization._strip import relevance_strip

__all__ = [
    "SIGNED",
    "channel_figure",
    "clip_map",
    "fusion_probabilities",
    "overlay",
    "parameters_by_depth",
    "relevance_strip",
    "robust_maximum",
    "side_by_side",
    "signed_colours",
    "temporal_distributions",
]
