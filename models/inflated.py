"""Paper 1's nets: ResNet18 and GoogLeNet for clips, with 3T and with ordinary 3D convolutions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from captum_video._core.errors import missing_extra
from captum_video.nn.inflation import ConvKind, inflate
from models._files import hub_weights
from models.data import moving_digits
from models.info import BundledModel, ModelInfo
from models.registry import register

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Inflated(BundledModel):
    """A 2D network that was inflated, as ``net``.

    Args:
        net: what :func:`captum_video.nn.inflate` gave.
        auxiliary: whether the training mode's named tuple with the scores of auxiliary heads comes
            back as it is; if not, the main scores alone do, and those heads are not trained.

    Shape:
        ``(N, 3, T, H, W)`` to ``(N, classes)``.
    """

    def __init__(self, net: nn.Module, auxiliary: bool = False) -> None:
        super().__init__()
        self.net = net
        self.auxiliary = auxiliary

    def forward(self, clip: Tensor) -> Any:
        """Scores of a batch of clips.

        Args:
            clip: ``(N, 3, T, H, W)``, normalised.

        Returns:
            ``(N, classes)``, before any softmax; torchvision's ``GoogLeNetOutputs`` of three such if
            there are auxiliary heads, they were asked for, and the net is in training mode.
        """
        scores = self.net(clip)
        return scores if self.auxiliary or isinstance(scores, Tensor) else scores.logits


class AuxiliaryHead(nn.Module):
    """GoogLeNet's auxiliary classifier, for clips that are wider than high.

    It averages to 2x3 places where torchvision's averages to 4x4, so that after inflation its first
    linear layer takes 128 x 1 x 2 x 3 features; the paper's parameter counts require it.

    Args:
        in_channels: channels of the maps.
        classes: number of outputs.
        dropout: probability before the last layer.
    """

    def __init__(self, in_channels: int, classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d((2, 3))
        self.conv = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(in_channels, 128, 1, bias=False), bn=nn.BatchNorm2d(128, eps=0.001)
            )
        )
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(128 * 2 * 3, 1024)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores from a middle layer's maps.

        Args:
            x: ``(N, in_channels, ...)``.

        Returns:
            ``(N, classes)``.
        """
        features = self.relu(self.conv(self.pool(x))).flatten(1)
        return self.fc2(self.dropout(self.relu(self.fc1(features))))


def resnet18(classes: int, pretrained: bool = False) -> nn.Module:
    """The ResNet18 of torchvision, for images.

    Args:
        classes: number of outputs.
        pretrained: whether all layers but the last start from the ImageNet weights that lie in torch
            hub's cache; nothing is fetched.

    Returns:
        The net.

    Raises:
        ImportError: torchvision is not installed.
        FileNotFoundError: the weights are not in the cache.
    """
    try:
        from torchvision.models import ResNet18_Weights
        from torchvision.models import resnet18 as torchvision_resnet18
    except ImportError as error:
        raise missing_extra("torchvision", "models", "The 2D net of resnet18_3t") from error
    net = torchvision_resnet18(num_classes=classes)
    if pretrained:
        _fill(net, ResNet18_Weights.IMAGENET1K_V1.url)
    return net


def googlenet(classes: int, pretrained: bool = False) -> nn.Module:
    """The GoogLeNet of torchvision, for images, with each auxiliary head an :class:`AuxiliaryHead`.

    Args:
        classes: number of outputs.
        pretrained: as for :func:`resnet18`; such a net rescales its input from the normalisation of
            torchvision's nets to that of its weights.

    Returns:
        The net.

    Raises:
        ImportError: torchvision is not installed.
        FileNotFoundError: the weights are not in the cache.
    """
    try:
        from torchvision.models.googlenet import (
            BasicConv2d,
            GoogLeNet,
            GoogLeNet_Weights,
            Inception,
        )
    except ImportError as error:
        raise missing_extra("torchvision", "models", "The 2D net of googlenet_3t") from error
    net = GoogLeNet(
        classes,
        aux_logits=True,
        transform_input=pretrained,
        init_weights=False,  # torchvision's takes seconds, and batch norm undoes its scale
        blocks=[BasicConv2d, Inception, AuxiliaryHead],
    )
    if pretrained:
        _fill(net, GoogLeNet_Weights.IMAGENET1K_V1.url)
    return net


def _fill(net: nn.Module, url: str) -> None:
    """Loads what fits of cached ImageNet weights: all but layers whose outputs are classes."""
    own = net.state_dict()
    saved = {
        key: value
        for key, value in hub_weights(net, url).items()
        if not (key.startswith("fc.") or ".fc" in key)
    }
    heads = {key: own[key] for key in own if key.startswith("fc.") or ".fc" in key}
    # files of that age lack the counters of batch norm
    counters = {key: own[key] for key in own if key.endswith("num_batches_tracked")}
    net.load_state_dict({**counters, **heads, **saved})


def _build(
    name: str,
    net: nn.Module,
    conv: ConvKind,
    layer: str,
    classes: int | Sequence[str] | None,
    auxiliary: bool = False,
    **options: Any,
) -> tuple[BundledModel, ModelInfo]:
    """The inflated net and its facts."""
    model = Inflated(inflate(net, conv, **options), auxiliary)
    if classes is None:
        info = ModelInfo(
            name=name,
            classes=moving_digits.CLASSES,
            groups=moving_digits.GROUPS,
            frames=moving_digits.FRAMES,
            size=moving_digits.SIZE,
            mean=moving_digits.MEAN,
            std=moving_digits.STD,
            layer=layer,
        )
        return model, info
    if isinstance(classes, int):
        classes = [f"class {index}" for index in range(classes)]
    info = ModelInfo(
        name=name,
        classes=tuple(classes),
        groups={"action": range(len(classes))},
        frames=30,
        size=(168, 224),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        layer=layer,
    )
    return model, info


def _resnet(conv: ConvKind, classes: Any, pretrained: bool, options: dict[str, Any]) -> Any:
    net = resnet18(_count(classes), pretrained)
    # the deepest layers in which 16 and 30 frames are more than one time step
    layer = "net.layer2" if classes is None else "net.layer3"
    return _build(f"resnet18_{conv}", net, conv, layer, classes, **options)


def _googlenet(conv: ConvKind, classes: Any, pretrained: bool, options: dict[str, Any]) -> Any:
    net = googlenet(_count(classes), pretrained)
    return _build(f"googlenet_{conv}", net, conv, "net.inception3b", classes, **options)


def _count(classes: int | Sequence[str] | None) -> int:
    if classes is None:
        return len(moving_digits.CLASSES)
    return classes if isinstance(classes, int) else len(classes)


@register("resnet18_3t")
def resnet18_3t(
    classes: int | Sequence[str] | None = None, pretrained: bool = False, **options: Any
) -> tuple[BundledModel, ModelInfo]:
    """The paper's 3T-ResNet18.

    Args:
        classes: number of outputs, 27 for Jester and 101 for UCF101, or their names; the 19 of the
            moving digits if not given. The facts follow: 30 frames of 168x224 as in the paper (150
            high for Jester), or 16 of 64x64.
        pretrained: whether the 2D net starts from ImageNet weights, which must be on disk.
        options: of :func:`captum_video.nn.inflate`: ``divide``, ``temporal_padding``, ...

    Returns:
        The model and its facts.
    """
    return _resnet("3t", classes, pretrained, options)


@register("resnet18_3d")
def resnet18_3d(
    classes: int | Sequence[str] | None = None, pretrained: bool = False, **options: Any
) -> tuple[BundledModel, ModelInfo]:
    """The same with ordinary 3D convolutions; for the arguments see :func:`resnet18_3t`.

    Returns:
        The model and its facts.
    """
    return _resnet("3d", classes, pretrained, options)


@register("googlenet_3t")
def googlenet_3t(
    classes: int | Sequence[str] | None = None, pretrained: bool = False, **options: Any
) -> tuple[BundledModel, ModelInfo]:
    """The paper's 3T-GoogLeNet, with both auxiliary heads; it takes clips of at least 16 frames.

    Args:
        classes: as for :func:`resnet18_3t`.
        pretrained: whether the 2D net starts from ImageNet weights, which must be on disk.
        options: of :func:`captum_video.nn.inflate`, and ``auxiliary=True`` for the heads' scores in
            training mode, as in :class:`Inflated`.

    Returns:
        The model and its facts.
    """
    return _googlenet("3t", classes, pretrained, options)


@register("googlenet_3d")
def googlenet_3d(
    classes: int | Sequence[str] | None = None, pretrained: bool = False, **options: Any
) -> tuple[BundledModel, ModelInfo]:
    """The same with ordinary 3D convolutions; for the arguments see :func:`googlenet_3t`.

    Returns:
        The model and its facts.
    """
    return _googlenet("3d", classes, pretrained, options)
