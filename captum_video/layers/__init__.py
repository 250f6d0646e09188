"""What a layer of a model gives: its activations, its axes, and the frames that it covers."""

from captum_video.layers.arrangement import Arrangement, arrangement
from captum_video.layers.capture import Capture, captured
from captum_video.layers.clip_axes import ClipAxes
from captum_video.layers.coverage import Coverage, time_weights
from captum_video.layers.layout import Axis, Extent, Layout, Part, Reach, Source
from captum_video.layers.listing import LayerFacts, deepest_with_time, list_layers
from captum_video.layers.question import Question
from captum_video.layers.reshaping import TokenGrid, channels_last, mvit_tokens
from captum_video.layers.resolve import layer_name, resolve_layer
from captum_video.layers.tracing import Trace

__all__ = [
    "Arrangement",
    "Axis",
    "Capture",
    "ClipAxes",
    "Coverage",
    "Extent",
    "LayerFacts",
    "Layout",
    "Part",
    "Question",
    "Reach",
    "Source",
    "TokenGrid",
    "Trace",
    "arrangement",
    "captured",
    "channels_last",
    "deepest_with_time",
    "layer_name",
    "list_layers",
    "mvit_tokens",
    "resolve_layer",
    "time_weights",
]
