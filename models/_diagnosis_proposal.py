"""Which joints to target, from what a user of real data has: labels, answers, inputs, decoded motion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LEVEL = 1.959963984540054
#: how far below the other classes the interval of a weak class must end
MARGIN = 0.05
#: a class with fewer clips is not judged
LEAST_CLIPS = 5
SHUFFLES = 40
#: of the shuffles in one of so many the best joint reaches the chance level
ONE_IN = 20


class Standing(NamedTuple):
    """How well a class is told.

    Attributes:
        clips: how many there are.
        accuracy: the share of right answers; NaN without clips.
        low: the lower end of its 95 % Wilson interval.
        high: the upper end.
        others: the mean accuracy of the other classes.
        weak: whether the class is judged and ``high < others - MARGIN``.
    """

    clips: int
    accuracy: float
    low: float
    high: float
    others: float
    weak: bool


class JointEvidence(NamedTuple):
    """What speaks for targeting a joint; see :func:`propose`.

    Attributes:
        joint: its name.
        separability: how well its motion tells the confused classes apart in the input, 0 to 1.
        amplification: of its share of the motion, in bits, in the last decoded layer.
        lost: how much less that is than the median joint's, in bits.
        evidence: what joints are ranked by.
    """

    joint: str
    separability: float
    amplification: float
    lost: float
    evidence: float


class Proposal(NamedTuple):
    """The joints to target, and why.

    Attributes:
        target: names, the strongest evidence first; empty if nothing is proposed.
        reason: in words, with the numbers.
        joints: the evidence for every joint, strongest first; empty if no class is weak.
        pairs: clips by the two classes that are taken for each other, the smaller index first.
        chance: the separability that the best joint reaches in one of twenty shuffles of the labels.
    """

    target: tuple[str, ...]
    reason: str
    joints: tuple[JointEvidence, ...]
    pairs: Mapping[tuple[int, int], int]
    chance: float


def confusion_of(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Counts of clips by class (rows) and answer (columns).

    Args:
        labels: ``(N,)``.
        predicted: ``(N,)``.
        classes: how many there are.

    Returns:
        int64, ``(classes, classes)``.
    """
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def wilson(right: int, clips: int) -> tuple[float, float]:
    r"""Wilson's 95 % interval of a share.

    .. math::
        \frac{p + z^2 / 2n \pm z \sqrt{p (1 - p) / n + z^2 / 4 n^2}}{1 + z^2 / n}

    Args:
        right: how many are right.
        clips: of how many, at least one.

    Returns:
        Both ends.
    """
    share, square = right / clips, LEVEL**2
    half = LEVEL * math.sqrt(share * (1 - share) / clips + square / (4 * clips**2))
    centre, scale = share + square / (2 * clips), 1 + square / clips
    return (centre - half) / scale, (centre + half) / scale


def standings(confusion: Tensor) -> list[Standing]:
    """How well each class is told, and which are weak.

    A class is weak if even the upper end of its 95 % interval lies more than ``MARGIN`` below the
    mean accuracy of the other classes, so that neither a few unlucky clips nor a net that is equally
    unsure of everything makes a class weak. Classes of fewer than ``LEAST_CLIPS`` clips are not judged.

    Args:
        confusion: as :func:`confusion_of` gives it.

    Returns:
        For each class.
    """
    clips, right = confusion.sum(1).tolist(), confusion.diagonal().tolist()
    shares = [hit / total if total else math.nan for hit, total in zip(right, clips, strict=True)]
    found = []
    for index, (hit, total, share) in enumerate(zip(right, clips, shares, strict=True)):
        rest = [s for i, s in enumerate(shares) if i != index and not math.isnan(s)]
        others = sum(rest) / len(rest) if rest else math.nan
        low, high = wilson(hit, total) if total else (0.0, 1.0)
        weak = total >= LEAST_CLIPS and high < others - MARGIN
        found.append(Standing(total, share, low, high, others, weak))
    return found


def confused_pairs(confusion: Tensor, weak: Sequence[int]) -> dict[tuple[int, int], int]:
    """Clips of two classes that are taken for each other, where at least one is weak.

    Args:
        confusion: as :func:`confusion_of` gives it.
        weak: indices of the weak classes.

    Returns:
        Clips by pair, most first; pairs of classes that have ``LEAST_CLIPS`` clips both.
    """
    both, clips = confusion + confusion.T, confusion.sum(1)
    pairs = {
        (first, second): int(both[first, second])
        for first in range(len(both))
        for second in range(first + 1, len(both))
        if both[first, second]
        and (first in weak or second in weak)
        and min(clips[first], clips[second]) >= LEAST_CLIPS
    }
    return dict(sorted(pairs.items(), key=lambda item: -item[1]))


def separability(
    features: Tensor, labels: Tensor, pairs: Mapping[tuple[int, int], int]
) -> tuple[Tensor, float]:
    r"""How well each joint's motion tells confused classes apart.

    .. math::
        s_j = \frac{\sum_{(c, d)} n_{cd} \max_k |2 A_{cd}(x_{jk}) - 1|}{\sum_{(c, d)} n_{cd}}

    over the pairs, of which :math:`n_{cd}` clips are confused, with the probability :math:`A_{cd}` that
    a clip of :math:`c` has more of feature :math:`x_{jk}` than one of :math:`d` (the AUROC). The best of
    several features and joints is above 0 by chance. The chance level is the 95 % quantile of the
    largest :math:`s_j` over 40 shuffles of the labels within each pair: the second largest value, which
    two of the 40 shuffles reach. For one pair without any signal the true labels are like one more
    shuffle, so that some joint exceeds the level in at most two of 41 cases.

    Args:
        features: ``(N, joints, features)``.
        labels: ``(N,)``.
        pairs: confused clips by pair of classes, at least one.

    Returns:
        ``(joints,)``, from 0 to 1, and the chance level.
    """
    generator = torch.Generator().manual_seed(0)
    total = features.new_zeros(1 + SHUFFLES, features.shape[1], dtype=torch.float64)
    for (first, second), weight in pairs.items():
        chosen = (labels == first) | (labels == second)
        mine = labels[chosen] == first
        shuffled = [mine[torch.randperm(len(mine), generator=generator)] for _ in range(SHUFFLES)]
        members = torch.stack([mine, *shuffled]).double()
        ranks = _ranks(features[chosen].double())
        inside = float(mine.sum())
        sums = torch.einsum("sn,njk->sjk", members, ranks) - inside * (inside + 1) / 2
        auroc = sums / (inside * (len(mine) - inside))
        total += weight * (2 * auroc - 1).abs().amax(2)
    total /= sum(pairs.values())
    best = total[1:].amax(1).sort(descending=True).values
    return total[0], float(best[SHUFFLES // ONE_IN - 1])


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 1 along the first axis, equal values sharing their mean rank; in float64."""
    columns = values.flatten(1).T.contiguous()
    ordered = columns.sort(1).values
    twice = torch.searchsorted(ordered, columns) + torch.searchsorted(ordered, columns, right=True)
    return ((twice + 1).double() / 2).T.view(values.shape)


def propose(
    confusion: Tensor,
    labels: Tensor,
    features: Tensor,
    amplification: Tensor,
    *,
    classes: Sequence[str],
    joints: Sequence[str],
    count: int,
) -> Proposal:
    r"""The joints that a refined net should attend to.

    A joint is worth a target if its motion tells apart, in the input, the classes that the net
    confuses, and if the net's last decoded layer has lost more of that motion than of others':

    .. math:: e_j = \max(s_j - s_\text{chance}, 0) \cdot \frac{2^{l_j}}{1 + 2^{l_j}}

    with :func:`separability` :math:`s_j` and :math:`l_j` the median amplification of all joints minus
    that of joint :math:`j`, in bits, over the clips of the weak classes. The factor is a half for the
    median joint and goes to one for a joint that is lost, so that a loss alone proposes nothing.

    Args:
        confusion: as :func:`confusion_of` gives it.
        labels: the class of each clip, ``(N,)``.
        features: how each joint moves, ``(N, joints, features)``.
        amplification: of each joint in the last decoded layer, ``(N, joints)``.
        classes: names.
        joints: names.
        count: how many joints to propose at most.

    Returns:
        The proposal; its reason says why if there is no target.
    """
    found = standings(confusion)
    weak = [index for index, standing in enumerate(found) if standing.weak]
    right, clips = int(confusion.diagonal().sum()), int(confusion.sum())
    chance_answers = 1 / len(classes)
    if wilson(right, clips)[0] <= chance_answers:
        return _nothing(
            f"No target is proposed: {right / clips:.1%} of the answers are right, which is not "
            f"clearly above guessing ({chance_answers:.1%}). The net has to be trained first."
        )
    if not weak:
        return _nothing(
            "No target is proposed: no class is weak. The upper end of the 95 % interval of every "
            f"class's accuracy is no more than {MARGIN:.0%} below the mean of the other classes."
        )
    pairs = confused_pairs(confusion, weak)
    told = ", ".join(f"{classes[i]} ({found[i].accuracy:.1%})" for i in weak)
    if not pairs:
        return _nothing(
            f"No target is proposed: {told} are weak, but what they are taken for has fewer than "
            f"{LEAST_CLIPS} clips. Use more."
        )
    separable, chance = separability(features, labels, pairs)
    in_weak = torch.isin(labels, torch.tensor(weak))
    gain = finite_mean(amplification[in_weak].double())
    lost = gain[~gain.isnan()].median() - gain
    evidence = ((separable - chance).clamp(min=0) * torch.sigmoid(lost * math.log(2))).nan_to_num(0)
    table = torch.stack([separable, gain, lost, evidence], dim=1).tolist()
    rows = [JointEvidence(name, *row) for name, row in zip(joints, table, strict=True)]
    rows.sort(key=lambda row: -row.evidence)
    target = tuple(row.joint for row in rows[:count] if row.evidence > 0)
    reason = _reason(told, pairs, classes, rows[: len(target)], chance)
    return Proposal(target, reason, tuple(rows), pairs, chance)


def finite_mean(values: Tensor) -> Tensor:
    """Mean over the first axis of what is finite.

    Args:
        values: ``(N, ...)``.

    Returns:
        ``(...)``, NaN where nothing is finite.
    """
    return values.masked_fill(~values.isfinite(), torch.nan).nanmean(0)


def _nothing(reason: str) -> Proposal:
    return Proposal((), reason, (), {}, math.nan)


def _reason(
    told: str,
    pairs: Mapping[tuple[int, int], int],
    classes: Sequence[str],
    rows: Sequence[JointEvidence],
    chance: float,
) -> str:
    """The proposal in words."""
    mixed = ", ".join(
        f"{classes[first]} and {classes[second]} ({clips} clips)"
        for (first, second), clips in list(pairs.items())[:6]
    )
    text = f"Weak classes: {told}. Confused most often: {mixed}. "
    if not rows:
        return text + (
            "No target is proposed: no joint's motion tells these classes apart better than the best "
            f"joint's does in one of {ONE_IN} shuffles of the labels (separability {chance:.2f})."
        )
    text += (
        "Targets are the joints whose motion tells these pairs apart in the input and is least kept "
        f"by the last decoded layer (the best joint reaches a separability of {chance:.2f} in one of "
        f"{ONE_IN} shuffles of the labels): "
    )
    return (
        text
        + "; ".join(
            f"{row.joint} (separability {row.separability:.2f}, share of motion "
            f"{row.amplification:+.2f} bits, {abs(row.lost):.2f} "
            f"{'below' if row.lost >= 0 else 'above'} the median joint)"
            for row in rows
        )
        + "."
    )
