"""Pictures of relevance, channels, temporal parameters and skeletons. Figures are plain objects."""

from captum_video.visualization._channel import channel_figure
from captum_video.visualization._colour import (
    COLOUR_BLIND,
    SIGNED,
    clip_map,
    robust_maximum,
    signed_colours,
)
from captum_video.visualization._distributions import (
    parameters_by_depth,
    temporal_distributions,
)
from captum_video.visualization._fusion import fusion_probabilities
from captum_video.visualization._overlay import overlay
from captum_video.visualization._panels import side_by_side
from captum_video.visualization._report import Report
from captum_video.visualization._skeleton_filters import motion_primitives_figure
from captum_video.visualization._skeleton_frames import skeleton_frames
from captum_video.visualization._skeleton_gates import filter_figure
from captum_video.visualization._skeleton_heat import joint_relevance
from captum_video.visualization._skeleton_responses import filter_responses
from captum_video.visualization._skeleton_strip import skeleton_strip
from captum_video.visualization._strip import relevance_strip
from captum_video.visualization._video import InlineVideo, save_video, show_video
from captum_video.visualization._video_attr import (
    visualize_video_attr,
    visualize_video_attr_multiple,
)

__all__ = [
    "COLOUR_BLIND",
    "SIGNED",
    "InlineVideo",
    "Report",
    "channel_figure",
    "clip_map",
    "filter_figure",
    "filter_responses",
    "fusion_probabilities",
    "joint_relevance",
    "motion_primitives_figure",
    "overlay",
    "parameters_by_depth",
    "relevance_strip",
    "robust_maximum",
    "save_video",
    "show_video",
    "side_by_side",
    "signed_colours",
    "skeleton_frames",
    "skeleton_strip",
    "temporal_distributions",
    "visualize_video_attr",
    "visualize_video_attr_multiple",
]
