"""The trainings of the low-data comparison: clips, balanced choice, one net, its accuracy."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video.nn import Conv3T
from models import build
from models._low_data_results import Cell, Settings
from models.data.video_mnist import VideoMNIST
from models.info import BundledModel

NETS = ("lenet5_3d", "lenet5_3t")
LABELS = ("motion", "digit")
CLASSES = 10
#: no training uses it, and the validation split has digits of its own
VALIDATION_SEED = 1_000_003
#: clips that a pool may draw from; a clip depends on seed and number, not on this
_LENGTH = 1_000_000
_EVALUATED = 100


@dataclass(frozen=True)
class Task:
    """A question to Video-MNIST.

    Attributes:
        decoupled: whether digit and motion are independent.
        label: which of the two is asked for.
        title: for the figure.
    """

    decoupled: bool
    label: Literal["motion", "digit"]
    title: str


TASKS = {
    "paper": Task(False, "motion", "paper: digit and motion agree"),
    "motion": Task(True, "motion", "decoupled: which motion"),
    "digit": Task(True, "digit", "decoupled: which digit"),
}


def digits() -> str:
    """Whose digits the clips show, which an environment variable may decide.

    Returns:
        ``"sklearn"`` or ``"mnist"``.
    """
    return "sklearn" if VideoMNIST(0).digits == "sklearn" else "mnist"


class Pool:
    """Clips of one seed, drawn when first wanted and kept as uint8.

    Args:
        data: gives a clip in [0, 1] and, without drawing it, its motion and digit, by number.
        seed: of the order of classes.
    """

    def __init__(self, data: VideoMNIST, seed: int) -> None:
        self._data, self._seed = data, seed
        self._clips: dict[int, Tensor] = {}
        self._walks: dict[str, Iterator[int]] = {}
        self._orders: dict[str, list[int]] = defaultdict(list)

    def balanced(self, label: str, count: int) -> tuple[Tensor, Tensor]:
        """So many clips, each class as often as any other or once more.

        Clips come in rounds of one clip of each class, in a shuffled order of the classes, so a
        smaller choice is the beginning of a larger one.

        Args:
            label: ``"motion"`` or ``"digit"``.
            count: how many.

        Returns:
            The clips ``(count, 1, T, H, W)``, uint8, and their classes.
        """
        order = self._orders[label]
        walk = self._walks.setdefault(label, self._rounds(label))
        while len(order) < count:
            order.append(next(walk))
        return self._taken(order[:count], label)

    def first(self, label: str, count: int) -> tuple[Tensor, Tensor]:
        """The first clips, as they come.

        Args:
            label: ``"motion"`` or ``"digit"``.
            count: how many.

        Returns:
            The clips ``(count, 1, T, H, W)``, uint8, and their classes.
        """
        return self._taken(range(count), label)

    def _rounds(self, label: str) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed)
        waiting: dict[int, deque[int]] = defaultdict(deque)
        numbers = itertools.count()
        while True:
            for wanted in torch.randperm(CLASSES, generator=generator).tolist():
                while not waiting[wanted]:
                    number = next(numbers)
                    waiting[self._label(number, label)].append(number)
                yield waiting[wanted].popleft()

    def _label(self, number: int, label: str) -> int:
        return self._data.labels(number)[LABELS.index(label)]

    def _taken(self, numbers: Sequence[int], label: str) -> tuple[Tensor, Tensor]:
        for number in numbers:
            if number not in self._clips:
                clip = self._data[number].clip
                self._clips[number] = (clip * 255).round().to(torch.uint8)
        classes = torch.tensor([self._label(number, label) for number in numbers])
        return torch.stack([self._clips[number] for number in numbers]), classes


class Data:
    """The clips of all cells; those of the seed in hand are kept.

    Args:
        validation: number of validation clips.
    """

    def __init__(self, validation: int) -> None:
        self._validation = validation
        self._seed: int | None = None
        self._pools: dict[bool, Pool] = {}
        self._fresh: dict[bool, Pool] = {}

    def training(self, cell: Cell) -> tuple[Tensor, Tensor]:
        """The clips and classes that a cell learns from; the same for all nets.

        Args:
            cell: the cell.

        Returns:
            Clips, uint8, and classes.
        """
        if cell.seed != self._seed:
            self._seed, self._pools = cell.seed, {}
        task = TASKS[cell.task]
        if task.decoupled not in self._pools:
            data = VideoMNIST(_LENGTH, cell.seed, "train", decoupled=task.decoupled)
            self._pools[task.decoupled] = Pool(data, cell.seed)
        return self._pools[task.decoupled].balanced(task.label, cell.clips)

    def validation(self, task_name: str) -> tuple[Tensor, Tensor]:
        """The clips and classes that accuracy is measured on; the same for all cells of a task.

        Args:
            task_name: one of ``TASKS``.

        Returns:
            Clips, uint8, and classes.
        """
        task = TASKS[task_name]
        if task.decoupled not in self._fresh:
            data = VideoMNIST(
                self._validation, VALIDATION_SEED, "validation", decoupled=task.decoupled
            )
            self._fresh[task.decoupled] = Pool(data, VALIDATION_SEED)
        return self._fresh[task.decoupled].first(task.label, self._validation)


def batches(count: int, seed: int, settings: Settings) -> Iterator[Tensor]:
    """The numbers of the clips in each step: a shuffled pass after another, none left out.

    Args:
        count: the number of clips; below a batch, each step takes them all.
        seed: of the order, which no net has a part in.
        settings: has batch size, epochs and the least number of steps.

    Yields:
        For each step, its clips.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = math.ceil(count / settings.batch_size)
    for _ in range(max(settings.epochs, math.ceil(settings.min_steps / steps))):
        yield from torch.randperm(count, generator=generator).split(settings.batch_size)


def train(cell: Cell, settings: Settings, data: Data) -> tuple[float, int]:
    """Trains one net from scratch and measures it. The global random state stays as it was.

    Args:
        cell: which net, on which clips.
        settings: how.
        data: the clips.

    Returns:
        The share of right answers to the validation clips, and the number of steps.

    Raises:
        ValueError: the loss is not finite.
    """
    clips, classes = data.training(cell)
    steps = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        model = build(cell.net)
        optimiser = torch.optim.Adam(parameter_groups(model, cell.net, settings))
        model.train()
        for chosen in batches(cell.clips, cell.seed, settings):
            optimiser.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(_input(model, clips[chosen])), classes[chosen])
            if not math.isfinite(float(loss.detach())):
                raise ValueError(
                    f"The loss of {cell} is {float(loss.detach())} at step {steps}; "
                    "a lower learning rate may help."
                )
            loss.backward()
            optimiser.step()
            steps += 1
    return accuracy(model, *data.validation(cell.task)), steps


def parameter_groups(model: BundledModel, net: str, settings: Settings) -> list[dict[str, Any]]:
    """What Adam is given: the temporal parameters of 3T layers may have a rate of their own.

    Args:
        model: the net.
        net: its name.
        settings: has the rates.

    Returns:
        Parameters and rates.
    """
    rate = settings.lr_3t if net.endswith("_3t") else settings.lr_3d
    if settings.lr_temporal is None:
        return [{"params": list(model.parameters()), "lr": rate}]
    temporal = {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, Conv3T)
        for parameter in (layer.scale, layer.rotation, layer.translation_x, layer.translation_y)
    }
    own = [p for p in model.parameters() if id(p) in temporal]
    others = [p for p in model.parameters() if id(p) not in temporal]
    groups: list[dict[str, Any]] = [{"params": others, "lr": rate}]
    return [*groups, {"params": own, "lr": settings.lr_temporal}] if own else groups


@torch.no_grad()
def accuracy(model: BundledModel, clips: Tensor, classes: Tensor) -> float:
    """The share of clips whose largest score is that of their class.

    Args:
        model: the net, left in evaluation mode.
        clips: ``(N, 1, T, H, W)``, uint8.
        classes: ``(N,)``.

    Returns:
        From 0 to 1.
    """
    model.eval()
    right = 0
    for some, truth in zip(clips.split(_EVALUATED), classes.split(_EVALUATED), strict=True):
        right += int((model(_input(model, some)).argmax(1) == truth).sum())
    return right / len(classes)


def _input(model: BundledModel, clips: Tensor) -> Tensor:
    """Clips as the net wants them."""
    return model.info.normalize(clips.float() / 255)
