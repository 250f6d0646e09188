"""LeNet-5 on clips (paper 1, appendix B), with ordinary 3D kernels and with 3T kernels."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from captum_video._core.checks import check_choice
from captum_video.nn import Conv3T
from models.data import video_mnist
from models.info import BundledModel, ModelInfo
from models.registry import register

Head = Literal["linear", "conv3t"]
Question = Literal["motion", "digit"]
HEADS = ("linear", "conv3t")
QUESTIONS = ("motion", "digit")


class LeNet5(BundledModel):
    """Two convolutions of 5x5x5, each rectified and max-pooled, and three linear layers.

    Layers: ``conv1`` (padding 2), ``relu1``, ``pool1`` (2x2x2), ``conv2`` (no padding), ``relu2``,
    ``pool2``, ``fc1`` (2000 to 120), ``relu3``, ``fc2`` (84), ``relu4``, ``fc3``. The paper gives
    the net's name and parameters only; that it rectifies (LeCun's net has tanh), pools by the
    maximum, pads the first convolution alone and has no dropout is chosen here.

    Under ``head="conv3t"`` the second pool and the linear layers give way to one 3T convolution of
    5x5x5 with padding 2 and an output channel for each class, ``output``, on the ``(N, 16, 11, 10,
    10)`` of ``relu2``: paper 1 expects the temporal parameters of such a layer to speak for the
    classes. There a step is two frames and a tap two pixels. The layer is rectified (``relu3``) and
    averaged over time and space. Without the rectifier the average would make the layer linear in
    the features' sums, so that its slices' order and transformations could only tell at the borders.

    Args:
        conv: ``nn.Conv3d`` or ``captum_video.nn.Conv3T``, for ``conv1`` and ``conv2``.
        classes: number of outputs.
        head: ``"linear"`` or ``"conv3t"``.

    Shape:
        ``(N, 1, 30, 28, 28)`` to ``(N, classes)``.

    Raises:
        ValueError: an unknown head.
    """

    def __init__(
        self, conv: type[nn.Conv3d] | type[Conv3T], classes: int = 10, *, head: Head = "linear"
    ) -> None:
        super().__init__()
        check_choice("head", head, HEADS)
        self.conv1, self.relu1, self.pool1 = conv(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool3d(2)
        self.conv2, self.relu2 = conv(6, 16, 5), nn.ReLU()
        if head == "conv3t":
            self.output, self.relu3 = Conv3T(16, classes, 5, padding=2), nn.ReLU()
            self.average, self.flatten = nn.AdaptiveAvgPool3d(1), nn.Flatten()
        else:
            self.pool2, self.flatten = nn.MaxPool3d(2), nn.Flatten()
            self.fc1, self.relu3 = nn.Linear(16 * 5 * 5 * 5, 120), nn.ReLU()
            self.fc2, self.relu4 = nn.Linear(120, 84), nn.ReLU()
            self.fc3 = nn.Linear(84, classes)

    def forward(self, clip: Tensor) -> Tensor:
        """Scores of a batch of clips.

        Args:
            clip: ``(N, 1, 30, 28, 28)``, normalised.

        Returns:
            ``(N, classes)``, before any softmax.
        """
        for layer in self.children():
            clip = layer(clip)
        return clip


@register("lenet5_3d", bundled=True)
def lenet5_3d(
    head: Head = "linear", question: Question = "motion"
) -> tuple[BundledModel, ModelInfo]:
    """LeNet-5 with ordinary 3D kernels, 263,906 parameters, that tells the motion of a digit.

    Args:
        head: ``"linear"``, or ``"conv3t"`` for a 3T convolution as the output layer, ``output``.
        question: ``"motion"``, or ``"digit"`` to be trained on the digit.

    Returns:
        The model and its facts.

    Raises:
        ValueError: an unknown head or question.
    """
    return _build("lenet5_3d", nn.Conv3d, head, question)


@register("lenet5_3t", bundled=True)
def lenet5_3t(
    head: Head = "linear", question: Question = "motion"
) -> tuple[BundledModel, ModelInfo]:
    """LeNet-5 with 3T kernels, 254,058 parameters, that tells the motion of a digit.

    Args:
        head: ``"linear"``, or ``"conv3t"`` for a 3T convolution as the output layer, ``output``.
        question: ``"motion"``, or ``"digit"`` to be trained on the digit.

    Returns:
        The model and its facts.

    Raises:
        ValueError: an unknown head or question.
    """
    return _build("lenet5_3t", Conv3T, head, question)


def _build(
    name: str, conv: type[nn.Conv3d] | type[Conv3T], head: Head, question: Question
) -> tuple[BundledModel, ModelInfo]:
    """A LeNet-5 for Video-MNIST with its facts."""
    check_choice("question", question, QUESTIONS)
    classes = video_mnist.MOTIONS if question == "motion" else video_mnist.DIGITS
    info = ModelInfo(
        name=name,
        classes=classes,
        groups={question: range(len(classes))},
        frames=video_mnist.FRAMES,
        size=video_mnist.SIZE,
        mean=video_mnist.MEAN,
        std=video_mnist.STD,
        layer="conv2",
    )
    return LeNet5(conv, len(classes), head=head), info
