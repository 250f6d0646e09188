"""C3D (Tran et al. 2015), the network that paper 2 explains, and its small bundled variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import torch
from torch import Tensor, nn

from models._classes import class_names
from models.data import moving_digits
from models.info import BundledModel, ModelInfo
from models.registry import register

PAPER_WIDTHS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
SMALL_WIDTHS = ((16,), (32,), (64,), (96,), (96,))


class C3D(BundledModel):
    """3x3x3 convolutions in stages, each followed by a max-pool, then fully connected layers.

    Layers carry the published names: ``conv1``, ``conv2``, ``conv3a``, ``conv3b``, ..., ``fc6``,
    ``fc7``, ``fc8``; the score layer is always ``fc8``. The published net has no batch norm;
    ``norm_from`` adds it for nets trained from scratch (in evaluation mode it folds into the
    convolution before it). Weights start as in Kaiming He et al. 2015, without which the depth does
    not train from scratch.

    Args:
        classes: number of outputs.
        widths: for each stage, the channels of its convolutions.
        hidden: widths of the fully connected layers before the scores, at most two.
        frames: the clip's length.
        size: the clip's height and width.
        dropout: probability after each hidden fully connected layer.
        final_pool: whether the last stage is followed by its pool, which has padding (0, 1, 1).
        norm_from: the first stage whose convolutions are followed by batch norm (``norm3a``, ...),
            counted from 1; None for none.

    Shape:
        ``(N, 3, frames, *size)`` to ``(N, classes)``.

    Raises:
        ValueError: more than two hidden layers, or a clip too small for the pools.
    """

    def __init__(
        self,
        classes: int = 101,
        *,
        widths: Sequence[Sequence[int]] = PAPER_WIDTHS,
        hidden: Sequence[int] = (4096, 4096),
        frames: int = 16,
        size: tuple[int, int] = (112, 112),
        dropout: float = 0.5,
        final_pool: bool = True,
        norm_from: int | None = None,
    ) -> None:
        super().__init__()
        if len(hidden) > 2:
            raise ValueError(f"hidden takes at most two widths (fc6, fc7), got {tuple(hidden)}.")
        channels = 3
        shape: tuple[int, ...] = (frames, *size)
        self._features: list[str] = []
        for stage, stage_widths in enumerate(widths, start=1):
            for letter, width in zip(ascii_lowercase, stage_widths, strict=False):
                name = f"conv{stage}" + (letter if stage > 2 else "")
                self._append(name, nn.Conv3d(channels, width, 3, padding=1))
                if norm_from is not None and stage >= norm_from:
                    self._append(name.replace("conv", "norm"), nn.BatchNorm3d(width))
                self._append(name.replace("conv", "relu"), nn.ReLU())
                channels = width
            last = stage == len(widths)
            if not last or final_pool:
                window = (1, 2, 2) if stage == 1 else (2, 2, 2)
                padding = (0, 1, 1) if last else (0, 0, 0)
                self._append(f"pool{stage}", nn.MaxPool3d(window, window, padding))
                shape = tuple(
                    (n + 2 * p) // w for n, p, w in zip(shape, padding, window, strict=True)
                )
        if 0 in shape:
            raise ValueError(
                f"A clip of {frames} frames at {size[0]}x{size[1]} is too small for the pools: "
                f"it ends as {shape[0]}x{shape[1]}x{shape[2]}."
            )
        features = channels * shape[0] * shape[1] * shape[2]
        self._head: list[str] = []
        for number, width in enumerate(hidden, start=6):
            for kind, layer in (
                ("fc", nn.Linear(features, width)),
                ("relu", nn.ReLU()),
                ("dropout", nn.Dropout(dropout)),
            ):
                self.add_module(f"{kind}{number}", layer)
                self._head.append(f"{kind}{number}")
            features = width
        self.fc8 = nn.Linear(features, classes)
        self.reset_parameters()

    def _append(self, name: str, layer: nn.Module) -> None:
        self.add_module(name, layer)
        self._features.append(name)

    def reset_parameters(self) -> None:
        """Draws fresh weights: normal with variance 2 / fan-in, and zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, clip: Tensor) -> Tensor:
        """Scores of a batch of clips.

        Args:
            clip: ``(N, 3, T, H, W)``, normalised.

        Returns:
            ``(N, classes)``, before any softmax.
        """
        for name in self._features:
            clip = self.get_submodule(name)(clip)
        hidden = torch.flatten(clip, 1)
        for name in self._head:
            hidden = self.get_submodule(name)(hidden)
        return self.fc8(hidden)


@register("c3d")
def c3d(
    classes: int | Sequence[str] = 101,
    frames: int = 16,
    size: tuple[int, int] = (112, 112),
    **options: Any,
) -> tuple[BundledModel, ModelInfo]:
    """The paper's C3D on 16 frames of 112x112; ``models.c3d_published`` fills it.

    Args:
        classes: number of outputs, 101 for UCF101 and 487 for Sports-1M, or their names.
        frames: the clip's length.
        size: the clip's height and width.
        options: further arguments of :class:`C3D`.

    Returns:
        The model and its facts: normalised, a clip is from 0 to 255 less a mean colour, as for the
        published weights; classes that are not named are numbered, since those weights bring no names.

    Raises:
        ValueError: no class, a name that comes twice, or what :class:`C3D` refuses.
    """
    names = class_names(classes)
    model = C3D(len(names), frames=frames, size=size, **options)
    info = ModelInfo(
        name="c3d",
        classes=names,
        groups={"action": range(len(names))},
        frames=frames,
        size=size,
        mean=(102 / 255, 98 / 255, 90 / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
        layer="conv5b",
    )
    return model, info


@register("c3d_small", bundled=True)
def c3d_small(dropout: float = 0.3) -> tuple[BundledModel, ModelInfo]:
    """A narrow C3D on 16 frames of 64x64 that tells motion and look of moving digits.

    Args:
        dropout: probability after the hidden fully connected layer.

    Returns:
        The model and its facts.
    """
    return _small("c3d_small", moving_digits.CLASSES, moving_digits.GROUPS, dropout)


@register("c3d_small_look", bundled=True)
def c3d_small_look(dropout: float = 0.3) -> tuple[BundledModel, ModelInfo]:
    """The twin of ``c3d_small`` that has learnt to tell the look alone, on the same clips.

    What differs between the two is owed to the question: this one never had to use time.

    Args:
        dropout: probability after the hidden fully connected layer.

    Returns:
        The model and its facts.
    """
    looks = moving_digits.LOOKS
    return _small("c3d_small_look", looks, {"look": range(len(looks))}, dropout)


def _small(
    name: str, classes: tuple[str, ...], groups: Mapping[str, range], dropout: float
) -> tuple[BundledModel, ModelInfo]:
    """A narrow C3D for moving digits, with its facts."""
    model = C3D(
        len(classes),
        widths=SMALL_WIDTHS,
        hidden=(256,),
        frames=moving_digits.FRAMES,
        size=moving_digits.SIZE,
        dropout=dropout,
        final_pool=False,
        norm_from=3,
    )
    info = ModelInfo(
        name=name,
        classes=classes,
        groups=groups,
        frames=moving_digits.FRAMES,
        size=moving_digits.SIZE,
        mean=moving_digits.MEAN,
        std=moving_digits.STD,
        layer="conv5a",
    )
    return model, info
