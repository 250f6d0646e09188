"""What has to be known before a layer's tensor can be brought into the clip's order."""

from __future__ import annotations

from dataclasses import dataclass

from captum_video.layers.clip_axes import ClipAxes
from captum_video.layers.layout import Layout


@dataclass(frozen=True)
class Question:
    """What has to be known to arrange a layer's tensor.

    Attributes:
        name: the layer, for messages.
        shape: the tensor's shape.
        layout: what the trace knows of it.
        inputs: the inputs' shapes.
        axes: the inputs' axes.
        frames_per_clip: as the caller gave it.
        transformed: whether the caller's transform made the tensor.
    """

    name: str
    shape: tuple[int, ...]
    layout: Layout | None
    inputs: tuple[tuple[int, ...], ...]
    axes: tuple[ClipAxes, ...]
    frames_per_clip: int | None
    transformed: bool

    @property
    def count(self) -> int:
        """The number of clips."""
        rows = self.inputs[0][0]
        if self.frames_per_clip is None or self.axes[0].time is not None:
            return rows
        if rows % self.frames_per_clip:
            raise ValueError(
                f"frames_per_clip={self.frames_per_clip} does not divide the {rows} frames of an "
                f"input of shape {self.inputs[0]}"
            )
        return rows // self.frames_per_clip

    def frames(self, source: int) -> int:
        """The number of frames of an input."""
        time = self.axes[source].time
        return self.inputs[source][time] if time is not None else self.frames_per_clip or 1

    def unknown(self) -> ValueError:
        """The error for a layout that cannot be known, or a transform that gets it wrong."""
        if self.transformed:
            return ValueError(
                f"reshape_transform gives a tensor of shape {self.shape} whose axes are not "
                f"(N, C, T, H, W) of an input of shape {self.inputs[0]}: followed through the "
                "forward pass, one of them descends from another axis"
            )
        return ValueError(
            f"layer {self.name!r} gives a tensor of shape {self.shape} for an input of shape "
            f"{self.inputs[0]}, and it cannot be known which of its axes are time and space: give a "
            "reshape_transform from the layer's output to (N, C, T, H, W), such as "
            "captum_video.layers.TokenGrid((T, H, W), class_tokens=1)"
        )
