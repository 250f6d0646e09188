"""CNN-LSTMs that explain themselves a little: paper 4's two nets, and their small bundled variants.

A 2D CNN sees every frame on its own, an LSTM reads what it found, and the last state decides - alone,
or after looking back over all states by additive attention. The CNN receives the frames folded into
the batch, frame after frame of clip after clip, as Grad-CAM on its last stage does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captum_video._core.errors import missing_extra
from models._classes import class_names
from models._files import hub_weights
from models.data import events
from models.info import BundledModel, ModelInfo
from models.registry import register

HIDDEN = 100
SMALL_HIDDEN = 64
SMALL_WIDTHS = (12, 24, 48, 48)


class AdditiveAttention(nn.Module):
    r"""Additive attention (Bahdanau, Cho and Bengio 2015, section 3.1).

    .. math::
        e_t = v^\top \tanh(W q + U k_t), \qquad
        a = \operatorname{softmax}(e), \qquad
        c = \sum_t a_t k_t

    Args:
        features: D, the width of the query and of each key.
        hidden: the width of the tanh layer; D if not given.

    Shape:
        query ``(N, D)`` and keys ``(N, T, D)`` to context ``(N, D)`` and weights ``(N, T)``.
    """

    def __init__(self, features: int, hidden: int | None = None) -> None:
        super().__init__()
        self.query = nn.Linear(features, hidden or features)
        self.key = nn.Linear(features, hidden or features, bias=False)
        self.energy = nn.Linear(hidden or features, 1, bias=False)

    def forward(self, query: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Averages the keys by how well they match the query.

        Args:
            query: ``(N, D)``.
            keys: ``(N, T, D)``.

        Returns:
            The context ``(N, D)`` and the weights ``(N, T)``, which are positive and sum to 1.
        """
        energy = self.energy(torch.tanh(self.query(query)[:, None] + self.key(keys)))
        weights = energy.squeeze(2).softmax(1)
        return torch.einsum("nt,ntd->nd", weights, keys), weights


class CNNLSTM(BundledModel):
    r"""A CNN on every frame, an LSTM over time, and a linear layer on what is left at the end.

    .. math::
        f_t = \operatorname{pool}_{xy} \operatorname{CNN}(x_t), \qquad
        h_1 \dots h_T = \operatorname{LSTM}(f_1 \dots f_T), \qquad
        y = V h_T + b \quad\text{or}\quad y = V c + b

    where c is the context of :class:`AdditiveAttention` with the query h_T over h_1 to h_T (paper 4,
    section 2.2).

    Args:
        cnn: takes ``(N * T, 3, H, W)`` to maps ``(N * T, features, H', W')``.
        pool: takes those maps to ``(N * T, features)``.
        features: their channels.
        classes: number of outputs.
        hidden: the width of the LSTM's state.
        attention: whether the states are looked back on.

    Shape:
        ``(N, 3, T, H, W)`` to ``(N, classes)``; any number of frames.
    """

    def __init__(
        self,
        cnn: nn.Module,
        pool: nn.Module,
        features: int,
        classes: int,
        *,
        hidden: int,
        attention: bool,
    ) -> None:
        super().__init__()
        self.cnn = cnn
        self.pool = pool
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.attention = AdditiveAttention(hidden) if attention else None
        self.head = nn.Linear(hidden, classes)
        self._remember()

    def _remember(self) -> None:
        """Opens the forget gates, so that a fresh LSTM carries what it saw to the end."""
        bias = self.lstm.bias_hh_l0
        assert isinstance(bias, Tensor)
        with torch.no_grad():
            bias.chunk(4)[1].fill_(1)  # the gates' order: input, forget, cell, output

    def forward(self, clip: Tensor) -> Tensor:
        """Scores of a batch of clips.

        Args:
            clip: ``(N, 3, T, H, W)``, normalised.

        Returns:
            ``(N, classes)``, before any softmax.
        """
        maps = self.cnn(clip.transpose(1, 2).flatten(0, 1))
        features = self.pool(maps).unflatten(0, (clip.shape[0], clip.shape[2]))
        states, _ = self.lstm(features)
        last = states[:, -1]
        if self.attention is not None:
            last, _ = self.attention(last, states)
        return self.head(last)


def small_cnn(widths: Sequence[int] = SMALL_WIDTHS) -> nn.Sequential:
    """Convolution, batch norm and ReLU in stages ``stage1``, ``stage2``, ...; a quarter of the size.

    Args:
        widths: for each stage, its channels.

    Returns:
        The stages, with weights as in Kaiming He et al. 2015.
    """
    cnn = nn.Sequential()
    channels = 3
    for stage, width in enumerate(widths, start=1):
        kernel, stride = (5 if stage == 1 else 3), (2 if stage <= 2 else 1)
        conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        cnn.add_module(f"stage{stage}", nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()))
        channels = width
    return cnn


def resnet18(pretrained: bool = False) -> nn.Sequential:
    """The ResNet18 of torchvision up to its last convolution stage, ``layer4``.

    Args:
        pretrained: whether to take the ImageNet weights that lie in torch hub's cache; nothing is
            fetched.

    Returns:
        Its layers under their own names, without the average pool and the classifier.

    Raises:
        ImportError: torchvision is not installed.
        FileNotFoundError: the weights are not in the cache.
    """
    try:
        from torchvision.models import ResNet18_Weights
        from torchvision.models import resnet18 as torchvision_resnet18
    except ImportError as error:
        raise missing_extra("torchvision", "models", "The CNN of cnn_lstm") from error
    net = torchvision_resnet18()
    if pretrained:
        net.load_state_dict(hub_weights(net, ResNet18_Weights.IMAGENET1K_V1.url))
    layers = ((name, part) for name, part in net.named_children() if name not in ("avgpool", "fc"))
    return nn.Sequential(OrderedDict(layers))


def _paper(
    name: str, attention: bool, classes: int | Sequence[str], pretrained: bool
) -> tuple[BundledModel, ModelInfo]:
    """The report's net, with or without attention."""
    names = class_names(classes)
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    cnn = resnet18(pretrained)
    model = CNNLSTM(cnn, pool, 512, len(names), hidden=HIDDEN, attention=attention)
    info = ModelInfo(
        name=name,
        classes=names,
        groups={"action": range(len(names))},
        frames=16,
        size=(224, 224),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        layer="cnn.layer4",
        attention="attention" if attention else None,
    )
    return model, info


def _small(name: str, attention: bool) -> tuple[BundledModel, ModelInfo]:
    """The small net, with or without attention.

    An event fills a tenth of a frame, and so of a mean over the frame. With the maximum, brought to
    one scale by batch norm, the task is learnt in the steps after which a mean is still at chance.
    """
    width = SMALL_WIDTHS[-1]
    pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.BatchNorm1d(width))
    model = CNNLSTM(
        small_cnn(),
        pool,
        width,
        len(events.CLASSES),
        hidden=SMALL_HIDDEN,
        attention=attention,
    )
    info = ModelInfo(
        name=name,
        classes=events.CLASSES,
        groups=events.GROUPS,
        frames=events.FRAMES,
        size=events.SIZE,
        mean=events.MEAN,
        std=events.STD,
        layer=f"cnn.stage{len(SMALL_WIDTHS)}",
        attention="attention" if attention else None,
    )
    return model, info


@register("cnn_lstm")
def cnn_lstm(
    classes: int | Sequence[str] = 51, pretrained: bool = False
) -> tuple[BundledModel, ModelInfo]:
    """Paper 4's net without attention: ResNet18, an LSTM of 100, 16 frames of 224x224.

    Args:
        classes: number of outputs, 51 for HMDB51, or their names.
        pretrained: whether the CNN starts from ImageNet weights, which must be on disk.

    Returns:
        The model and its facts.

    Raises:
        ValueError: no class, or a name that comes twice.
    """
    return _paper("cnn_lstm", False, classes, pretrained)


@register("cnn_lstm_attention")
def cnn_lstm_attention(
    classes: int | Sequence[str] = 51, pretrained: bool = False
) -> tuple[BundledModel, ModelInfo]:
    """Paper 4's net with attention; its weights over time are the second output of ``attention``.

    Args:
        classes: number of outputs, 51 for HMDB51, or their names.
        pretrained: whether the CNN starts from ImageNet weights, which must be on disk.

    Returns:
        The model and its facts.

    Raises:
        ValueError: no class, or a name that comes twice.
    """
    return _paper("cnn_lstm_attention", True, classes, pretrained)


@register("cnn_lstm_small", bundled=True)
def cnn_lstm_small() -> tuple[BundledModel, ModelInfo]:
    """A small CNN-LSTM on 16 frames of 48x48 that reads a digit which shows for a few frames.

    Returns:
        The model and its facts.
    """
    return _small("cnn_lstm_small", False)


@register("cnn_lstm_attention_small", bundled=True)
def cnn_lstm_attention_small() -> tuple[BundledModel, ModelInfo]:
    """The same with attention over the LSTM's states.

    Returns:
        The model and its facts.
    """
    return _small("cnn_lstm_attention_small", True)
