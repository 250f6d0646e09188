"""The pose net of SfMLearner (Zhou et al. 2017), with its explainability masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128, 256, 256, 256)
KERNELS = (7, 5, 3, 3, 3, 3, 3)
STRIDES = (2, 2, 2, 2, 2, 2, 2)
_ENCODER = 5  # convolutions that poses and masks share
_SCALES = 4
_POSE_SCALE = 0.01


class PoseExpNet(nn.Module):
    """Seven convolutions see all views at once; their mean over the picture gives the poses.

    The views are stacked on channels, target first. ``conv1`` to ``conv7``, each followed by
    ``relu1`` to ``relu7``, lead to ``pose``, a 1x1 convolution to six numbers for each reference,
    averaged over the picture and multiplied by 0.01. From ``conv5`` transposed convolutions
    ``upconv5`` to ``upconv1`` lead back; after the last four, ``mask4`` to ``mask1`` say for each
    reference how far a pixel is explained by the camera's motion, from 0 to 1.

    Args:
        references: number of reference views.
        masks: whether the net has masks.
        widths: channels of the seven convolutions.
        strides: of the seven convolutions, 1 or 2.

    Shape:
        ``(N, 3 * (references + 1), H, W)`` to poses ``(N, references, 6)`` and masks
        ``(N, references, h, w)``, the finest first, of the sizes of the net's input and of what
        enters ``conv2`` to ``conv4``; no masks for a net without.
    """

    def __init__(
        self,
        references: int = 2,
        *,
        masks: bool = False,
        widths: Sequence[int] = WIDTHS,
        strides: Sequence[int] = STRIDES,
    ) -> None:
        super().__init__()
        self.references = references
        self.has_masks = masks
        channels = 3 * (references + 1)
        for number, (width, kernel, stride) in enumerate(
            zip(widths, KERNELS, strides, strict=True), start=1
        ):
            conv = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"relu{number}", nn.ReLU())
            channels = width
        self.pose = nn.Conv2d(channels, 6 * references, 1)
        if masks:
            ups = (widths[4], widths[3], widths[2], widths[1], widths[0])
            channels = widths[4]
            for number, width in zip(range(_ENCODER, 0, -1), ups, strict=True):
                kernel, stride = (4, 2) if strides[number - 1] == 2 else (3, 1)
                up = nn.ConvTranspose2d(channels, width, kernel, stride, padding=1)
                self.add_module(f"upconv{number}", up)
                self.add_module(f"uprelu{number}", nn.ReLU())
                if number <= _SCALES:
                    self.add_module(f"mask{number}", nn.Conv2d(width, references, 3, padding=1))
                channels = width

    def forward(self, views: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Poses and masks.

        Args:
            views: ``(N, 3 * (references + 1), H, W)``, target first.

        Returns:
            Poses and masks.
        """
        hidden, sizes = views, []
        for number in range(1, _ENCODER + 1):
            sizes.append(hidden.shape[-2:])
            hidden = self._step("", number, hidden)
        shared = hidden
        for number in range(_ENCODER + 1, len(KERNELS) + 1):
            hidden = self._step("", number, hidden)
        poses = _POSE_SCALE * self.pose(hidden).mean((2, 3))
        poses = poses.unflatten(1, (self.references, 6))
        return poses, self._masks(shared, sizes) if self.has_masks else ()

    def _step(self, way: str, number: int, hidden: Tensor) -> Tensor:
        """A convolution with its rectifier."""
        hidden = self.get_submodule(f"{way}conv{number}")(hidden)
        return self.get_submodule(f"{way}relu{number}")(hidden)

    def _masks(self, hidden: Tensor, sizes: list[torch.Size]) -> tuple[Tensor, ...]:
        """The masks, finest first."""
        masks = []
        for number in range(_ENCODER, 0, -1):
            height, width = sizes[number - 1]
            hidden = self._step("up", number, hidden)[..., :height, :width]
            if number <= _SCALES:
                masks.append(self.get_submodule(f"mask{number}")(hidden).sigmoid())
        return tuple(reversed(masks))
