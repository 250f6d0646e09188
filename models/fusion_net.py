"""The template network of paper 3: densely connected layers of fusion units, and a small variant."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_video._core.checks import check_choice
from captum_video.nn import FusionUnit
from models.data import look_or_motion
from models.info import BundledModel, ModelInfo
from models.registry import register

Conv = Literal["fusion", "s", "st", "s+st"]
Gates = Literal["two", "three"]
Question = Literal["both", "look", "motion"]
CONVS = ("fusion", "s", "st", "s+st")
QUESTIONS = ("both", "look", "motion")

#: DenseNet-121's
PAPER_BLOCKS, PAPER_GROWTH = (6, 12, 24, 16), 32
SMALL_BLOCKS = (1, 2, 3)


class DenseLayer(nn.Sequential):
    """Normalises, rectifies and convolves, and passes on what it got beside what it made.

    Args:
        channels: of the input.
        unit: the convolution.

    Shape:
        ``(N, channels, T, H, W)`` to ``(N, channels + growth, T, H, W)``.
    """

    def __init__(self, channels: int, unit: nn.Module) -> None:
        super().__init__(OrderedDict(norm=nn.BatchNorm3d(channels), relu=nn.ReLU(), unit=unit))

    def forward(self, x: Tensor) -> Tensor:
        """Adds the layer's features.

        Args:
            x: the features of all earlier layers of the block.

        Returns:
            The same with the layer's own behind them.
        """
        return torch.cat([x, super().forward(x)], 1)


class FusionNet(BundledModel):
    r"""Densely connected layers of fusion units, in blocks (paper 3, supplement, section 2).

    A layer is batch norm, ReLU and a :class:`captum_video.nn.FusionUnit`, whose output all later
    layers of its block get beside what it got itself. Between blocks there is a reduction: batch
    norm, ReLU, a 1x1x1 convolution to half the channels, and a pool. Then come batch norm, ReLU, the
    average over time and space, and a linear layer. The stride is 1 in time everywhere, and in space
    1 in convolutions and 2 in pools.

    The paper's text says that much; its figure 1 shows units, repetitions and strides. Chosen here,
    after DenseNet (Huang et al. 2017), on which the paper builds: the stem (a 1xkxk convolution, batch
    norm, ReLU, a max-pool), average pools in reductions, halved channels, ``bottleneck`` channels
    between a unit's paths and its shared kernel (DenseNet's 1x1 convolution is where S and ST are,
    without the norm and ReLU that DenseNet has behind it), no biases but the last layer's, and that
    dense connections stay within a block. Pools of 3x3x3, padded by 1, mix neighbouring frames
    even where every unit is spatial, as the paper notes; with ``pool=(1, 2, 2)`` they do not, and
    ``conv="s"`` makes a net that looks at frames one by one. Weights start as in Kaiming He et al.
    2015.

    Layers: ``stem``, ``block1.layer1.unit``, ..., ``reduction1``, ``block2.layer1.unit``, ...,
    ``norm``, ``relu``, ``average``, ``flatten``, ``scores``.

    Args:
        classes: number of outputs.
        in_channels: channels of a clip.
        stem: channels of the first convolution.
        stem_kernel: height and width of the first convolution, an odd number.
        blocks: layers of each block.
        growth: channels that a layer adds.
        bottleneck: channels between paths and shared kernel.
        pool: time, height and width of the pools, with stride (1, 2, 2) and, where odd, half as much
            padding.
        conv: ``"fusion"``; or a plain twin: ``"s"`` for 1x1x1 and 1x3x3 convolutions, ``"st"`` for
            3x1x1 and 1x3x3, ``"s+st"`` for units that keep both paths, without gates.
        gates: ``"two"`` or ``"three"``, as for ``FusionUnit``; for ``conv="fusion"`` alone, as are
            the next two.
        temperature: of the gates.
        drop_probability: of the gates, at the start.

    Shape:
        ``(N, in_channels, T, H, W)`` to ``(N, classes)``.

    Raises:
        ValueError: an unknown ``conv``, or what ``FusionUnit`` refuses.
    """

    def __init__(
        self,
        classes: int,
        *,
        in_channels: int = 3,
        stem: int = 64,
        stem_kernel: int = 7,
        blocks: Sequence[int] = PAPER_BLOCKS,
        growth: int = PAPER_GROWTH,
        bottleneck: int = 4 * PAPER_GROWTH,
        pool: tuple[int, int, int] = (3, 3, 3),
        conv: Conv = "fusion",
        gates: Gates = "two",
        temperature: float = 0.2,
        drop_probability: float | Sequence[float] = 0.1,
    ) -> None:
        super().__init__()
        check_choice("conv", conv, CONVS)
        units: dict[str, Any] = {"gates": None}
        if conv == "fusion":
            units = {
                "gates": gates, "temperature": temperature, "drop_probability": drop_probability
            }  # fmt: skip
        window: dict[str, Any] = {
            "kernel_size": pool,
            "stride": (1, 2, 2),
            "padding": tuple(size // 2 if size % 2 else 0 for size in pool),
        }
        first = nn.Conv3d(
            in_channels, stem, (1, stem_kernel, stem_kernel), bias=False,
            padding=(0, stem_kernel // 2, stem_kernel // 2),
        )  # fmt: skip
        self.stem = nn.Sequential(
            OrderedDict(
                conv=first, norm=nn.BatchNorm3d(stem), relu=nn.ReLU(), pool=nn.MaxPool3d(**window)
            )
        )
        channels = stem
        for number, layers in enumerate(blocks, start=1):
            block: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(1, layers + 1):
                unit = _unit(conv, channels, growth, bottleneck, units)
                block[f"layer{index}"] = DenseLayer(channels, unit)
                channels += growth
            self.add_module(f"block{number}", nn.Sequential(block))
            if number < len(blocks):
                self.add_module(
                    f"reduction{number}",
                    nn.Sequential(
                        OrderedDict(
                            norm=nn.BatchNorm3d(channels),
                            relu=nn.ReLU(),
                            conv=nn.Conv3d(channels, channels // 2, 1, bias=False),
                            pool=nn.AvgPool3d(**window),
                        )
                    ),
                )
                channels //= 2
        self.norm, self.relu = nn.BatchNorm3d(channels), nn.ReLU()
        self.average, self.flatten = nn.AdaptiveAvgPool3d(1), nn.Flatten()
        self.scores = nn.Linear(channels, classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights: normal with variance 2 / fan-in, and zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, clip: Tensor) -> Tensor:
        """Scores of a batch of clips.

        Args:
            clip: ``(N, in_channels, T, H, W)``, normalised.

        Returns:
            ``(N, classes)``, before any softmax.
        """
        for layer in self.children():
            clip = layer(clip)
        return clip


def _unit(
    conv: Conv, channels: int, growth: int, bottleneck: int, options: Mapping[str, Any]
) -> nn.Module:
    """A layer's convolution."""
    if conv in ("fusion", "s+st"):
        return FusionUnit(channels, growth, 3, mid_channels=bottleneck, bias=False, **options)
    depth = 1 if conv == "s" else 3
    temporal = nn.Conv3d(
        channels, bottleneck, (depth, 1, 1), padding=(depth // 2, 0, 0), bias=False
    )
    spatial = nn.Conv3d(bottleneck, growth, (1, 3, 3), padding=(0, 1, 1), bias=False)
    return nn.Sequential(OrderedDict(temporal=temporal, spatial=spatial))


@register("fusion_net")
def fusion_net(
    classes: int = 174,
    frames: int = 16,
    size: tuple[int, int] = (112, 112),
    **options: Any,
) -> tuple[BundledModel, ModelInfo]:
    """The paper's template on 16 frames of 112x112: DenseNet-121's 58 layers, each a fusion unit.

    Args:
        classes: number of outputs; 174 for Something-Something, 101 for UCF101, 400 for Kinetics.
        frames: the clip's length.
        size: the clip's height and width.
        options: further arguments of :class:`FusionNet`, such as ``conv`` and ``gates``.

    Returns:
        The model and its facts; the class names are numbers, since there are no weights for it.
    """
    info = ModelInfo(
        name="fusion_net",
        classes=tuple(f"class {index}" for index in range(classes)),
        groups={"action": range(classes)},
        frames=frames,
        size=size,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        layer="relu",
    )
    return FusionNet(classes, **options), info


@register("fusion_net_small", bundled=True)
def fusion_net_small(
    question: Question = "both",
    halved: bool = False,
    conv: Conv = "fusion",
    gates: Gates = "two",
    temperature: float = 0.2,
    drop_probability: float | Sequence[float] = 0.5,
) -> tuple[BundledModel, ModelInfo]:
    """A narrow template of six layers for the clips of ``models.data.LookOrMotion``.

    Its pools are spatial, so that only what ST paths do depends on the frames' order. Its gates start
    undecided, at 0.5. From the paper's 0.1 all of them end at 0.97 or more when both are asked:
    what a net has come to rely on early costs something to drop, whether or not it could do without.

    Args:
        question: ``"motion"``, ``"look"``, or ``"both"``: what it is trained to tell.
        halved: whether it is for clips of half the temporal resolution.
        conv: ``"fusion"``, or the plain twins ``"s"``, ``"st"`` and ``"s+st"``.
        gates: ``"two"`` or ``"three"``.
        temperature: of the gates.
        drop_probability: of the gates, at the start.

    Returns:
        The model and its facts. Grad-CAM's layer is the first reduction's, with maps of 12x12: of the
        last features' 3x3 no more falls on the digit than its share of the picture.

    Raises:
        ValueError: an unknown question, or what :class:`FusionNet` refuses.
    """
    check_choice("question", question, QUESTIONS)
    groups: Mapping[str, range] = look_or_motion.GROUPS
    classes = look_or_motion.CLASSES
    if question != "both":
        classes = tuple(classes[index] for index in groups[question])
        groups = {question: range(len(classes))}
    model = FusionNet(
        len(classes),
        in_channels=1,
        stem=12,
        stem_kernel=3,
        blocks=SMALL_BLOCKS,
        growth=8,
        bottleneck=16,
        pool=(1, 2, 2),
        conv=conv,
        gates=gates,
        temperature=temperature,
        drop_probability=drop_probability,
    )
    info = ModelInfo(
        name="fusion_net_small",
        classes=classes,
        groups=groups,
        frames=look_or_motion.HALVED_FRAMES if halved else look_or_motion.FRAMES,
        size=look_or_motion.SIZE,
        mean=look_or_motion.MEAN,
        std=look_or_motion.STD,
        layer="reduction1.relu",
    )
    return model, info
