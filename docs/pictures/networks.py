"""Pictures of what networks have learnt: channels of a 3TConv, gates of fusion units."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

import models
from captum_video import FusionPosterior, TemporalParameters
from captum_video.attr import explain_channel
from captum_video.visualization import channel_figure, fusion_probabilities
from models.data.video_mnist import VideoMNIST
from pictures import picture

SEED = 20_000
TURNING = 17  # the number of a clip whose digit turns clockwise


@picture("channel", "lenet5_3t", width=900)
def channel() -> Figure:
    """Two channels: saliency, activation maximisation, temporal parameters."""
    model: Any = models.load("lenet5_3t")
    sample = VideoMNIST(TURNING + 1, seed=SEED, split="validation", decoupled=True)[TURNING]
    x = model.info.normalize(sample.clip)[None]
    found = TemporalParameters(model, "conv2").motion(x, target="predicted", top=2)
    shown = [explain_channel(model, "conv2", x, int(c)) for c in found.channels[0]]
    return channel_figure(shown, columns=1)[0]


@picture("fusion-posterior", "fusion_net_small", width=900)
def fusion_posterior() -> Figure:
    """What each layer keeps, and the most probable strategy."""
    model: Any = models.load("fusion_net_small")
    posterior = FusionPosterior(model)
    return fusion_probabilities(
        posterior.read(),
        strategy=posterior.most_probable(),
        title="fusion_net_small: posterior and its most probable strategy",
    )[0]
