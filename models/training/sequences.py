"""Classification of sequences by the Res-TCNs (paper 5, section 5.1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_video._core.skeletons import KINECT_JOINTS, joint_numbers
from models._res_tcn import SequenceNet
from models.info import BundledModel
from models.training.classification import Classification

#: training sequences behind the mean
MEAN_COUNT = 512


class SequenceClassification(Classification):
    r"""One class for each of the model's groups, with an L1 penalty on the filters.

    The loss is cross-entropy plus :math:`\lambda \sum |w|` over the weights of all convolutions. The
    mean over frames of the first 512 training sequences, the paper's mean skeleton, is set on the
    model before the first step.

    Args:
        class_weights: as for :class:`Classification`.
        l1: :math:`\lambda`; the paper's is 1e-4.
    """

    def __init__(
        self,
        class_weights: Mapping[str, Sequence[float]] | Literal["balanced"] | None = None,
        *,
        l1: float = 1e-4,
    ) -> None:
        super().__init__(class_weights)
        self.l1 = l1
        self.loss_note += f", and {l1:g} times the sum of the filters' magnitudes"

    def settings(self) -> dict[str, Any]:
        """The penalty, and the class weights if there are any.

        Returns:
            Plain values by name.
        """
        return {**super().settings(), "l1": self.l1}

    def begin(self, model: BundledModel, data: Callable[[], Any]) -> None:
        """Sets the mean skeleton.

        Args:
            model: a Res-TCN or MS-Res-TCN.
            data: makes the training split.
        """
        assert isinstance(model, SequenceNet)
        clips = data()
        total = torch.stack([clips[i].clip.double() for i in range(min(MEAN_COUNT, len(clips)))])
        model.set_mean(total.mean((0, 2)).float())

    def loss(self, model: BundledModel, clip: Tensor, batch: Any) -> Tensor:
        """Cross-entropy and penalty.

        Args:
            model: the model.
            clip: the sequences.
            batch: has the classes.

        Returns:
            A scalar.
        """
        filters = [m.weight for m in model.modules() if isinstance(m, nn.Conv1d)]
        penalty = torch.stack([weight.abs().sum() for weight in filters]).sum()
        return super().loss(model, clip, batch) + self.l1 * penalty


def target_joints(given: str) -> str:
    """The joints that a command line names.

    Args:
        given: joints separated by commas, or the path of a diagnosis, a JSON file with a list of
            joints as ``target_joints``.

    Returns:
        The joints' names in order, separated by commas.

    Raises:
        ValueError: an unknown joint, or a file that is no diagnosis or proposes no joints.
        OSError: the file cannot be read.
    """
    if not given.endswith(".json"):
        names = [name.strip() for name in given.split(",")]
    else:
        try:
            names = json.loads(Path(given).read_text(encoding="utf-8"))["target_joints"]
            names = [str(name) for name in names]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{given} is no diagnosis: it must be JSON with a list 'target_joints' ({error!r})."
            ) from error
        if not names:
            raise ValueError(f"{given} proposes no joints to target.")
    return ",".join(KINECT_JOINTS[number] for number in joint_numbers(names))
