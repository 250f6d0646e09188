"""Two nets on the same clips, class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models._diagnosis_proposal import LEVEL


class Gain(NamedTuple):
    """What another net gains over the diagnosed one.

    Attributes:
        name: of the class, or ``all``.
        clips: how many there are.
        accuracy: of the diagnosed net; NaN without clips.
        other: of the other net.
        difference: ``other - accuracy``.
        low: the lower end of its 95 % interval.
        high: the upper end.
        weak: whether the class is weak.
    """

    name: str
    clips: int
    accuracy: float
    other: float
    difference: float
    low: float
    high: float
    weak: bool


def paired_interval(gained: int, lost: int, clips: int) -> tuple[float, float]:
    r"""95 % interval of a difference of accuracies over the same clips.

    Wald's interval of a paired difference with half a clip added to each of the four cells (Agresti
    and Min, 2005), so that it does not vanish where no clip differs: with :math:`b = g + 1/2`,
    :math:`c = l + 1/2` and :math:`n' = n + 2`,

    .. math:: \frac{b - c}{n'} \pm \frac{z}{n'} \sqrt{b + c - \frac{(b - c)^2}{n'}}

    Args:
        gained: clips that the other net alone has right.
        lost: clips that the diagnosed net alone has right.
        clips: all clips, at least one.

    Returns:
        Both ends, within -1 and 1.
    """
    b, c, n = gained + 0.5, lost + 0.5, clips + 2
    half = LEVEL * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return max(-1.0, (b - c) / n - half), min(1.0, (b - c) / n + half)


def gains(
    labels: Tensor, first: Tensor, second: Tensor, classes: Sequence[str], weak: Sequence[int]
) -> list[Gain]:
    """Accuracy of two nets by class, weak classes together, and over all.

    Args:
        labels: the class of each clip, ``(N,)``.
        first: the diagnosed net's answers.
        second: the other net's.
        classes: names.
        weak: indices of the weak classes.

    Returns:
        A row for each class that has clips, one for the weak classes if there are any, one for the
        others, and one for all.
    """
    groups = [(name, labels == index, index in weak) for index, name in enumerate(classes)]
    of_weak = torch.isin(labels, torch.tensor(list(weak), dtype=labels.dtype))
    if weak:
        groups += [("all weak classes", of_weak, True), ("all other classes", ~of_weak, False)]
    groups.append(("all classes", torch.ones_like(of_weak), False))
    rows = []
    for name, chosen, is_weak in groups:
        clips = int(chosen.sum())
        if not clips:
            continue
        one, two = ((answers == labels)[chosen] for answers in (first, second))
        gained, lost = int((two & ~one).sum()), int((one & ~two).sum())
        shares = int(one.sum()) / clips, int(two.sum()) / clips
        interval = paired_interval(gained, lost, clips)
        rows.append(Gain(name, clips, *shares, (gained - lost) / clips, *interval, is_weak))
    return rows
