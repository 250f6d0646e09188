"""Visual odometry in the manner of SfMLearner (Zhou et al. 2017), which paper 4 explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models import _dispnet, _posenet
from models._dispnet import DispNet
from models._posenet import PoseExpNet
from models.data import drives
from models.info import BundledModel, ModelInfo
from models.registry import load, register

_NUMBERS = ("x", "y", "z", "turn about x", "turn about y", "turn about z")
#: the small net keeps an eighth of the picture's size up to conv5, whose map is 4x13 as the paper's
_SMALL_STRIDES = (2, 2, 2, 1, 1, 2, 2)
_SMALL_POSE_WIDTHS = (16, 32, 64, 96, 128, 128, 128)
_SMALL_DISP_WIDTHS = (16, 32, 48, 64, 64, 64, 64)
_SMALL_UP_WIDTHS = (16, 16, 32, 48, 64, 64, 64)


class Views(NamedTuple):
    """All that view synthesis needs to know of a clip.

    Attributes:
        poses: ``(N, R, 6)``, from the target to each reference, as ``models.geometry`` has them.
        disparities: the target's inverse depth, ``(N, 1, h, w)``, the finest scale first.
        masks: for each scale ``(N, R, h, w)``, how far a pixel is explained by the camera's
            motion, from 0 to 1; empty for a net without masks.
    """

    poses: Tensor
    disparities: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]


class Odometry(BundledModel):
    """How a camera moved, from the frames alone, learnt by predicting frames from each other.

    The middle frame is the target, the others are its references. The pose net sees all of them
    and answers how points go from the target's coordinates to each reference's; the depth net sees
    the target. Lengths have no unit: pictures do not tell it.

    Args:
        references: number of reference frames, even.
        masks: whether the pose net has explainability masks.
        pose_widths: channels of the pose net's convolutions.
        pose_strides: strides of the pose net's convolutions.
        disp_widths: channels of the depth net on the way down.
        up_widths: channels of the depth net on the way up.

    Attributes:
        pose: the pose net; paper 4 looks at its fifth convolution, which in SfMLearner includes the
            rectifier: ``pose.relu5``.
        depth: the depth net.

    Shape:
        ``(N, 3, references + 1, H, W)`` to ``(N, references, 6)``.

    Raises:
        ValueError: the number of references is odd or not positive.
    """

    def __init__(
        self,
        references: int = 4,
        *,
        masks: bool = True,
        pose_widths: Sequence[int] = _posenet.WIDTHS,
        pose_strides: Sequence[int] = _posenet.STRIDES,
        disp_widths: Sequence[int] = _dispnet.WIDTHS,
        up_widths: Sequence[int] = _dispnet.UP_WIDTHS,
    ) -> None:
        super().__init__()
        if references < 2 or references % 2:
            raise ValueError(f"references must be even and positive, got {references}.")
        self.pose = PoseExpNet(references, masks=masks, widths=pose_widths, strides=pose_strides)
        self.depth = DispNet(disp_widths, up_widths)
        self._target = references // 2
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights as Glorot and Bengio 2010, and zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, clip: Tensor) -> Tensor:
        """The poses from the target to each reference.

        Args:
            clip: ``(N, 3, references + 1, H, W)``, normalised, in the order of time.

        Returns:
            ``(N, references, 6)``: translation x, y, z, then the angles about x, y and z in
            radians.
        """
        return self.pose(self._stack(clip))[0]

    def views(self, clip: Tensor) -> Views:
        """The poses with the target's disparities and the masks.

        Args:
            clip: as for the poses.

        Returns:
            What :class:`models.view_synthesis.ViewSynthesis` takes.
        """
        poses, masks = self.pose(self._stack(clip))
        return Views(poses, self.depth(clip[:, :, self._target]), masks)

    def _stack(self, clip: Tensor) -> Tensor:
        """All frames on channels, the target first."""
        frames = list(clip.unbind(2))
        return torch.cat([frames.pop(self._target), *frames], dim=1)


def output_names(references: int) -> tuple[str, ...]:
    """What to call the poses' numbers.

    Args:
        references: number of reference frames.

    Returns:
        Names such as ``"frame -2: x"``, in the order of ``poses.flatten(1)``.
    """
    half = references // 2
    others = [*range(-half, 0), *range(1, half + 1)]
    return tuple(f"frame {other:+d}: {number}" for other in others for number in _NUMBERS)


def _info(name: str, references: int, size: tuple[int, int]) -> ModelInfo:
    """The facts of an odometry model."""
    names = output_names(references)
    return ModelInfo(
        name=name,
        classes=names,
        groups={"pose": range(len(names))},
        frames=references + 1,
        size=size,
        mean=drives.MEAN,
        std=drives.STD,
        layer="pose.relu5",
    )


@register("odometry")
def odometry(
    references: int = 4, masks: bool = True, size: tuple[int, int] = (128, 416)
) -> tuple[BundledModel, ModelInfo]:
    """The nets of the paper: 128x416, poses by PoseExpNet, depth by DispNet.

    Args:
        references: number of reference frames.
        masks: whether the pose net has explainability masks.
        size: the frames' height and width.

    Returns:
        The model and its facts; the "classes" are the poses' numbers.
    """
    return Odometry(references, masks=masks), _info("odometry", references, size)


@register("odometry_small", bundled=True)
def odometry_small() -> tuple[BundledModel, ModelInfo]:
    """The same nets, narrow, on five frames of 32x104 from procedural drives.

    Returns:
        The model and its facts; the "classes" are the poses' numbers.
    """
    references = len(drives.REFERENCES)
    model = Odometry(
        references,
        pose_widths=_SMALL_POSE_WIDTHS,
        pose_strides=_SMALL_STRIDES,
        disp_widths=_SMALL_DISP_WIDTHS,
        up_widths=_SMALL_UP_WIDTHS,
    )
    return model, _info("odometry_small", references, drives.SIZE)


class Numbers(BundledModel):
    """An odometry model whose poses are one row of numbers, as the command line wants them.

    Args:
        model: the odometry model.

    Attributes:
        info: the odometry model's facts; its "classes" name the numbers.
        model: the odometry model.

    Shape:
        ``(N, 3, references + 1, H, W)`` to ``(N, 6 * references)``.
    """

    def __init__(self, model: BundledModel) -> None:
        super().__init__()
        self.model = model
        self.info = replace(model.info, layer=f"model.{model.info.layer}")

    def forward(self, clip: Tensor) -> Tensor:
        """The poses' numbers, one after the other.

        Args:
            clip: as for the odometry model.

        Returns:
            ``(N, 6 * references)``.
        """
        return self.model(clip).flatten(1)


def numbers() -> Numbers:
    """The bundled net for ``captum-video explain --model models.odometry:numbers``.

    Returns:
        The trained model, in evaluation mode.
    """
    return Numbers(load("odometry_small")).eval()
