"""Attribution classes, one file each."""

from captum_video.attr._decision_motion import DecisionMotion
from captum_video.attr._fusion_readout import FusionReadout
from captum_video.attr._posterior_fit import FitHistory, fit_gates
from captum_video.attr._temporal_readout import LayerReadout, TemporalReadout
from captum_video.attr.activation_maximization import ActivationMaximization, Maximized
from captum_video.attr.channel_explanation import (
    ChannelExplanation,
    ChannelSaliency,
    channel_saliency,
    explain_channel,
)
from captum_video.attr.deep_taylor import DeepTaylor
from captum_video.attr.discriminative import (
    DiscriminativeRelevance,
    FrozenFrames,
    RelevanceComponents,
)
from captum_video.attr.feature_map_decoder import DecodableLayer, FeatureMapDecoder
from captum_video.attr.frame_attention import AttendedFrames, FrameAttention
from captum_video.attr.fusion_posterior import FusionPosterior
from captum_video.attr.regression_grad_cam import RegressionGradCam
from captum_video.attr.selective import SelectiveRelevance
from captum_video.attr.temporal_parameters import TemporalParameters
from captum_video.attr.video_grad_cam import VideoGradCam

__all__ = [
    "ActivationMaximization",
    "AttendedFrames",
    "ChannelExplanation",
    "ChannelSaliency",
    "DecisionMotion",
    "DecodableLayer",
    "DeepTaylor",
    "DiscriminativeRelevance",
    "FeatureMapDecoder",
    "FitHistory",
    "FrameAttention",
    "FrozenFrames",
    "FusionPosterior",
    "FusionReadout",
    "LayerReadout",
    "Maximized",
    "RegressionGradCam",
    "RelevanceComponents",
    "SelectiveRelevance",
    "TemporalParameters",
    "TemporalReadout",
    "VideoGradCam",
    "channel_saliency",
    "explain_channel",
    "fit_gates",
]
