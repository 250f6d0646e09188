"""A diagnosis as plain values: what ``diagnosis.json`` holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from captum_video._core.skeletons import KINECT_JOINTS
from captum_video.metrics import Signatures, rank_correlation, signature
from models._diagnosis_compare import Gain
from models._diagnosis_evidence import Evidence
from models._diagnosis_proposal import (
    Proposal,
    Standing,
    confusion_of,
    finite_mean,
    propose,
    standings,
)

#: joints that are named as most amplified, and as most lost
NAMED = 3


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and what follows from it.

    Attributes:
        settings: the model, its weights, seed and count of clips, as the command was given them.
        classes: names of the classes.
        evidence: what the net makes of the clips.
        count: how many joints to propose at most.
        control: what an untrained net of the same plan makes of some of the clips.
        compared: the other net's name and the differences, or ``None``.
    """

    settings: Mapping[str, Any]
    classes: Sequence[str]
    evidence: Evidence
    count: int
    control: Evidence
    compared: tuple[str, Sequence[Gain]] | None = None

    @cached_property
    def confusion(self) -> Tensor:
        """Counts by class and answer."""
        evidence = self.evidence
        return confusion_of(evidence.labels, evidence.predicted, len(self.classes))

    @cached_property
    def standings(self) -> list[Standing]:
        """How well each class is told."""
        return standings(self.confusion)

    @property
    def weak(self) -> list[int]:
        """Indices of the weak classes."""
        return [index for index, standing in enumerate(self.standings) if standing.weak]

    @cached_property
    def signatures(self) -> list[Signatures]:
        """Of each layer."""
        return [signature(p.double(), self.evidence.labels) for p in self.evidence.profiles]

    @cached_property
    def control_signature(self) -> list[float]:
        """Mean signature of all classes in each layer of the untrained net."""
        control = self.control
        found = [signature(p.double(), control.labels).auroc for p in control.profiles]
        return [float(auroc.nanmean()) for auroc in found]

    @cached_property
    def amplification(self) -> Tensor:
        """Mean over the clips of each class, ``(layers, classes, joints)``; NaN where none moves."""
        return torch.stack([
            torch.stack([
                finite_mean(gain[self.evidence.labels == index])
                for index in range(len(self.classes))
            ])
            for gain in self.evidence.amplification
        ])  # fmt: skip

    @cached_property
    def proposal(self) -> Proposal:
        """The joints to target."""
        evidence = self.evidence
        return propose(
            self.confusion, evidence.labels, evidence.features, evidence.amplification[-1],
            classes=self.classes, joints=KINECT_JOINTS, count=self.count,
        )  # fmt: skip

    def standing_of(self, found: Signatures) -> list[float]:
        """A signature's AUROC for each class, NaN for classes without clips."""
        by_class = [math.nan] * len(self.classes)
        for label, value in zip(found.classes.tolist(), found.auroc.tolist(), strict=True):
            by_class[label] = value
        return by_class

    def correlations(self) -> list[float]:
        """Spearman's correlation of classes' accuracy and signature, by layer."""
        accuracy = torch.tensor([s.accuracy for s in self.standings], dtype=torch.float64)
        return [
            rank_correlation(accuracy, accuracy.new_tensor(self.standing_of(found)))
            for found in self.signatures
        ]


def extremes(gain: Tensor) -> tuple[list[str], list[str]]:
    """The most amplified joints and the most lost ones.

    Args:
        gain: of each joint, ``(joints,)``.

    Returns:
        Names, the extreme one first.
    """
    order = [i for i in gain.argsort(descending=True).tolist() if not math.isnan(gain[i])]
    names = [KINECT_JOINTS[i] for i in order]
    return names[:NAMED], names[::-1][:NAMED]


def as_json(diagnosis: Diagnosis) -> str:
    """All numbers of a diagnosis as strict JSON.

    Args:
        diagnosis: the diagnosis.

    Returns:
        The text; what is not a number is ``null``.
    """
    proposal, evidence = diagnosis.proposal, diagnosis.evidence
    content = {
        **diagnosis.settings,
        "layers": evidence.layers,
        "joints": KINECT_JOINTS,
        "target_joints": proposal.target,
        "reason": proposal.reason,
        "accuracy": float((evidence.labels == evidence.predicted).double().mean()),
        "classes": [_class(diagnosis, index) for index in range(len(diagnosis.classes))],
        "confusion": diagnosis.confusion.tolist(),
        "confused_pairs": [
            {"classes": [diagnosis.classes[i] for i in pair], "clips": clips}
            for pair, clips in proposal.pairs.items()
        ],
        "chance_separability": proposal.chance,
        "joint_evidence": [row._asdict() for row in proposal.joints],
        "signature_against_accuracy": [
            {"layer": layer, "rank_correlation": value, "untrained_mean_signature": control}
            for layer, value, control in zip(
                evidence.layers, diagnosis.correlations(), diagnosis.control_signature, strict=True
            )
        ],
        "views": [
            {"layer": layer, **distance._asdict(), "untrained_ratio": control.ratio}
            for layer, distance, control in zip(
                ("input", *evidence.layers), evidence.views, diagnosis.control.views, strict=True
            )
        ],
    }
    if diagnosis.compared is not None:
        name, rows = diagnosis.compared
        content["comparison"] = {"other": name, "rows": [row._asdict() for row in rows]}
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def _class(diagnosis: Diagnosis, index: int) -> dict[str, Any]:
    """What is known of one class."""
    standing = diagnosis.standings[index]
    wrong = diagnosis.confusion[index].tolist()
    wrong[index] = 0
    order = sorted(range(len(wrong)), key=lambda other: -wrong[other])
    layers = []
    for number, (layer, found) in enumerate(
        zip(diagnosis.evidence.layers, diagnosis.signatures, strict=True)
    ):
        gain = diagnosis.amplification[number, index]
        up, down = extremes(gain)
        place = (found.classes == index).nonzero().flatten().tolist()
        layers.append({
            "layer": layer,
            "signature": float(found.auroc[place[0]]) if place else None,
            "no_signature": float(found.no_signature[place[0]]) if place else None,
            "activity": float(found.activity[place[0]]) if place else None,
            "amplification": gain.tolist(),
            "most_amplified": up,
            "most_lost": down,
        })  # fmt: skip
    return {
        "name": diagnosis.classes[index],
        "clips": standing.clips,
        "accuracy": standing.accuracy,
        "interval": [standing.low, standing.high],
        "accuracy_of_the_others": standing.others,
        "weak": standing.weak,
        "answered_instead": [
            {"name": diagnosis.classes[other], "clips": wrong[other]}
            for other in order
            if wrong[other]
        ],
        "by_layer": layers,
    }


def _plain(value: Any) -> Any:
    """A value with rounded numbers, and ``None`` for those that are none."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
