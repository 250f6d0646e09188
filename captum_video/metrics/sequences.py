"""What a net makes of skeleton sequences: which joints it amplifies, which classes it can tell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_video._core.skeletons import KINECT_JOINTS, split_joints

#: samples whose likeness to all others is held at a time
_ROWS = 512


class Signatures(NamedTuple):
    """How characteristic each class's filter responses are.

    Attributes:
        classes: the labels that occur, ascending, ``(K,)``.
        auroc: the probability that a sample is nearer to another of its class than to one of
            another class, ``(K,)``; 0.5 is no signature, 1 a perfect one. NaN for a class of one sample
            or without other classes.
        no_signature: ``2 (1 - auroc)`` in 0..1, ``(K,)``: 0 for a perfect signature, 1 for none.
        activity: how much the responses change in time, relative to the mean over classes, ``(K,)``;
            0 is no response at all. NaN if no class has any.
    """

    classes: Tensor
    auroc: Tensor
    no_signature: Tensor
    activity: Tensor


class ViewDistance(NamedTuple):
    """How far apart the views of one performance are.

    Attributes:
        ratio: ``between_views / between_performances``; 1: another view differs as much as another
            performance, 0: views do not differ.
        between_views: mean of one minus the correlation between two views of a performance.
        between_performances: the same between two performances seen by the same camera.
    """

    ratio: float
    between_views: float
    between_performances: float


def joint_motion(sequences: Tensor, joints: int = len(KINECT_JOINTS)) -> Tensor:
    r"""How much each joint moves about its own mean position.

    .. math:: m_j = \sqrt{\frac{1}{T} \sum_t \lVert p_j(t) - \bar p_j \rVert^2}

    Args:
        sequences: ``(N, D, T)``.
        joints: how many an actor has.

    Returns:
        ``(N, actors * joints)``, in the sequences' units.

    Raises:
        ValueError: for another shape.
    """
    _check(sequences, "sequences", 3)
    position = split_joints(sequences, joints)
    return _centred(position).square().sum(-2).mean(-1).sqrt().flatten(1)


def amplification(decoded: Tensor, inputs: Tensor, joints: int = len(KINECT_JOINTS)) -> Tensor:
    r"""How much more of all motion a joint has in a decoded sequence than in the input.

    .. math:: a_j = \log_2 \frac{\hat m_j / \sum_k \hat m_k}{m_j / \sum_k m_k}

    with the :func:`joint_motion` :math:`\hat m` of the decoded sequence and :math:`m` of the input.
    Shares are compared, as a decoded sequence's scale is the filters' own. Joints that do not move
    in the input, such as all of an actor who is not there, are left out of both sums.

    Args:
        decoded: ``(N, D, T)``, such as ``FeatureMapDecoder.attribute`` returns.
        inputs: what they were decoded from, of the same shape.
        joints: how many an actor has.

    Returns:
        ``(N, actors * joints)``: positive for amplified joints, negative for lost ones, minus
        infinity for one that stands still when decoded; NaN for those that do not move in the input
        or if nothing decoded moves.

    Raises:
        ValueError: for another shape, or shapes that differ.
    """
    _check(inputs, "inputs", 3)
    if decoded.shape != inputs.shape:
        raise ValueError(
            f"decoded must be of the inputs' shape {tuple(inputs.shape)}, got {tuple(decoded.shape)}"
        )
    before, after = joint_motion(inputs, joints), joint_motion(decoded, joints)
    after = after * (before > 0)
    before, after = before / before.sum(1, keepdim=True), after / after.sum(1, keepdim=True)
    return (after / before).log2()  # 0 / 0 is NaN where nothing moves


def response_profiles(responses: Tensor) -> Tensor:
    """Mean and standard deviation over time of each filter's response.

    Args:
        responses: magnitudes ``(N, F, T)``, such as ``FeatureMapDecoder.responses`` returns.

    Returns:
        ``(N, 2 F)``: the means, then the standard deviations.

    Raises:
        ValueError: for another shape.
    """
    _check(responses, "responses", 3)
    return torch.cat([responses.mean(2), responses.std(2, correction=0)], dim=1)


def signature(responses: Tensor, labels: Tensor) -> Signatures:
    r"""How characteristic the filter responses of each class are (paper 5, figure 8, in numbers).

    The paper looks at response magnitudes over time and finds "no characteristic signature or no
    response at all" for *reading*. Here each sample is described by its :func:`response_profiles`,
    standardised over samples, :math:`z_i`, and a class :math:`c` by

    .. math::
        \mathrm{AUROC}_c = \operatorname*{mean}_{i \in c}
        P(\rho(z_i, z_p) > \rho(z_i, z_q)) + \tfrac12 P(\rho(z_i, z_p) = \rho(z_i, z_q)),
        \quad p \in c \setminus i,\; q \notin c

    with the correlation :math:`\rho`, 0 where a profile is constant; and by its activity, the mean
    standard deviation of its responses over time, divided by the mean of that over all classes.

    It takes :math:`O(N^2 (F + \log N))` time; the correlations of 512 samples are held at a time.

    Args:
        responses: ``(N, F, T)``, or the profiles ``(N, 2 F)`` of samples that do not fit into memory
            at once.
        labels: integers, ``(N,)``.

    Returns:
        Signature and activity of each class.

    Raises:
        ValueError: for other shapes.
    """
    profiles = response_profiles(responses) if responses.dim() == 3 else responses
    _check(profiles, "responses", 2)
    if labels.shape != profiles.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"labels must be integers ({len(profiles)},), one for each sample, got shape "
            f"{tuple(labels.shape)} of {labels.dtype}"
        )
    labels = labels.to(profiles.device)
    nearer = _nearer(_unit(_standardised(profiles)), labels)
    classes = labels.unique()
    auroc = torch.stack([nearer[labels == label].mean() for label in classes]).to(profiles.dtype)
    changes = profiles[:, profiles.shape[1] // 2 :].mean(1)
    activity = torch.stack([changes[labels == label].mean() for label in classes])
    return Signatures(classes, auroc, (2 * (1 - auroc)).clamp(0, 1), activity / activity.mean())


def view_distance(sequences: Tensor) -> ViewDistance:
    r"""How far apart a performance's views are, against different performances.

    .. math::
        d(x, y) = 1 - \frac{\langle x - \bar x, y - \bar y \rangle}
        {\lVert x - \bar x \rVert \lVert y - \bar y \rVert}

    with the mean over time :math:`\bar x` of each dimension, averaged over pairs of views of the same
    performance, and over pairs of performances in the same view. Pairs with a sequence that does not
    move are left out.

    Args:
        sequences: ``(P, V, D, T)``, at least two performances and two views.

    Returns:
        The two mean distances and their ratio.

    Raises:
        ValueError: for another shape.
    """
    _check(sequences, "sequences", 4)
    performances, views = sequences.shape[:2]
    if performances < 2 or views < 2:
        raise ValueError(
            "sequences must be (P, V, D, T) with at least two performances and two views, got shape "
            f"{tuple(sequences.shape)}"
        )
    flat = _centred(sequences).flatten(2)
    flat = flat / flat.norm(dim=2, keepdim=True)
    between = [_mean_distance(group) for group in (flat, flat.transpose(0, 1))]
    return ViewDistance(between[0] / between[1] if between[1] else float("nan"), *between)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation: the correlation of ranks, ties sharing their mean rank.

    Args:
        first: ``(N,)``.
        second: ``(N,)``. Pairs with a NaN on either side are left out.

    Returns:
        From -1 to 1; NaN if fewer than two pairs are left or one side is constant.

    Raises:
        ValueError: for other shapes, or shapes that differ.
    """
    _check(first, "first", 1)
    if second.shape != first.shape:
        raise ValueError(
            f"second must be of first's shape {tuple(first.shape)}, got {tuple(second.shape)}"
        )
    there = ~(first.isnan() | second.isnan())
    ranks = torch.stack([_ranks(values[there]) for values in (first, second)])
    ranks = ranks - ranks.mean(1, keepdim=True)
    scale = ranks.square().sum(1).prod().sqrt()
    return float(ranks.prod(0).sum() / scale) if scale > 0 else float("nan")


def _check(values: Tensor, name: str, rank: int) -> None:
    """Refuses values of another rank, integers, and empty ones."""
    if values.dim() != rank or not values.is_floating_point() or not values.numel():
        raise ValueError(
            f"{name} must be floating point of {rank} dimensions, not empty, got shape "
            f"{tuple(values.shape)} of {values.dtype}"
        )


def _centred(sequences: Tensor) -> Tensor:
    """Sequences without their mean over time, exactly zero where nothing moves."""
    moved = sequences - sequences[..., :1]
    return moved - moved.mean(-1, keepdim=True)


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 1 in float64, equal values sharing their mean rank."""
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    counts = counts.double()
    return (counts.cumsum(0) - (counts - 1) / 2)[place]


def _standardised(profiles: Tensor) -> Tensor:
    """Each feature with mean 0 and standard deviation 1 over samples; 0 if it is constant."""
    offset = profiles - profiles.mean(0)
    scale = offset.square().mean(0).sqrt()
    # rounding makes constant features vary in the last digits
    least = 16 * torch.finfo(profiles.dtype).eps * profiles.abs().amax(0)
    return torch.where(scale > least, offset / scale, torch.zeros_like(offset))


def _unit(samples: Tensor) -> Tensor:
    """Samples with mean 0 and length 1, whose products are correlations; 0 for constant ones."""
    offset = samples - samples.mean(1, keepdim=True)
    length = offset.norm(dim=1, keepdim=True)
    return torch.where(length > 0, offset / length, torch.zeros_like(offset))


def _nearer(unit: Tensor, labels: Tensor) -> Tensor:
    """For each sample, the probability that another of its class is nearer than one outside; float64.

    NaN where there is no other of its class or none outside.
    """
    found = unit.new_full((len(unit),), torch.nan, dtype=torch.float64)
    for start in range(0, len(unit), _ROWS):
        likeness = unit[start : start + _ROWS] @ unit.T
        own_labels = labels[start : start + _ROWS]
        for label in own_labels.unique():
            rows, mine = (own_labels == label).nonzero().flatten(), labels == label
            near, far = likeness[rows][:, mine], likeness[rows][:, ~mine].sort(1).values
            pairs = (near.shape[1] - 1) * far.shape[1]
            if not pairs:
                continue
            # those that are farther count one, those that are as near a half
            twice = torch.searchsorted(far, near) + torch.searchsorted(far, near, right=True)
            itself = mine.cumsum(0)[start + rows] - 1
            twice.scatter_(1, itself[:, None], 0)
            found[start + rows] = twice.sum(1).double() / 2 / pairs
    return found


def _mean_distance(groups: Tensor) -> float:
    """Mean of one minus the product of each two unit vectors of a group, over ``(G, M, K)``."""
    first, second = torch.triu_indices(groups.shape[1], groups.shape[1], 1).unbind()
    products = torch.bmm(groups, groups.transpose(1, 2))[:, first, second]
    return float((1 - products).nanmean())
