"""How much each layer needs space, time and both: the posterior over fusion units."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from captum._utils.common import _format_additional_forward_args
from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor
from torch.nn import Module
from tqdm.auto import tqdm

from captum_video._core.checks import (
    check_inputs,
    check_model,
    check_target_length,
    chunks,
    examples,
)
from captum_video._core.guards import check_evaluation_mode, untouched
from captum_video._core.targets import one_tensor, resolve_target, target_score
from captum_video.attr._fit_batches import Loss, is_right, unpacked
from captum_video.attr._fusion_readout import UNITS, FusionReadout
from captum_video.attr._posterior_fit import FitHistory, fit_gates, gated_copy
from captum_video.attr._unit_effects import Variants
from captum_video.nn.gates import FusionGates, forced_gates
from captum_video.nn.strategies import (
    Strategy,
    checked_strategies,
    current_strategy,
    fixed_network,
    gates_of,
    most_probable_strategy,
    sample_strategies,
    set_strategy,
)


class FusionPosterior(Attribution):
    r"""How much each layer needs spatial (S), spatiotemporal (ST) and both (S+ST) units.

    A network with fusion units (:class:`captum_video.nn.FusionUnit`) that was trained with
    :func:`captum_video.nn.fusion_regularizer` has learnt, with its weights, the probability
    :math:`1 - p_{l,u}` with which each layer keeps each unit. That is the marginal posterior of the
    unit and the paper's importance of it (paper 3, equation S17). :meth:`read` gives it; it speaks of
    the network, its data and its prior, not of one decision. :meth:`attribute` does that.
    :meth:`fit` does the same for networks without fusion units, after training.

    Strategies, which say for every layer what is kept, can be sampled from the posterior, compared
    without training again (:meth:`evaluate`), and the chosen one exported as an ordinary network.

    What it does not say: S and ST are not two kinds of function, as ST can do all that S can, see
    :class:`captum_video.nn.FusionUnit`. The probabilities depend on the prior's length scale, and on
    the number of samples that it is weighed against.

    Args:
        model: a network with gates.

    Attributes:
        layers: the names of the layers with gates.
        units: the columns of all results, ``("S", "ST", "S+ST")``. With two gates, S+ST is both.
        history: what :meth:`fit` recorded; None otherwise.

    Raises:
        TypeError: the model is no ``torch.nn.Module``.
        ValueError: it has no gates.

    Example:
        >>> import torch
        >>> from captum_video import FusionPosterior
        >>> from captum_video.nn import FusionUnit
        >>> FusionPosterior(torch.nn.Sequential(FusionUnit(3, 4))).read()  # untrained
        FusionReadout(
          0: S 0.90, ST 0.90, S+ST 0.81
        )
    """

    def __init__(self, model: Module) -> None:
        check_model(model)
        if not isinstance(model, Module):
            raise TypeError(
                f"model must be a torch.nn.Module, whose gates can be found, got {type(model).__name__}"
            )
        super().__init__(model)
        self.model = model
        self._gates: dict[str, FusionGates] = gates_of(model)
        self.layers, self.units = tuple(self._gates), UNITS
        self.history: FitHistory | None = None

    @classmethod
    def fit(
        cls,
        model: Module,
        data: Iterable[Any],
        *,
        loss: Loss | None = None,
        layers: Module | str | Sequence[Module | str] | None = None,
        **options: Any,
    ) -> FusionPosterior:
        r"""How much of its temporal kernels a trained 3D network needs.

        In a copy of the network every kernel with more than one tap in time is split into its temporal
        mean (S) and the rest (ST), see :class:`captum_video.nn.SplitConv3d`, with a gate on each, and
        the gates alone are learnt, the weights as they are. Where dropping a unit raises the mean loss
        of a clip by :math:`\Delta`, the other gates being drawn, its posterior is

        .. math:: \operatorname{logit}(1 - p) = N \Delta - c

        with the number of clips :math:`N` and the price :math:`c`: what is not used ends at
        :math:`1 - p = \operatorname{sigmoid}(-c)`, 0.05 for the default of 3 nats, and what is
        worth more than :math:`c` nats to all clips together is kept. So more clips make the answer
        sharper, and ``samples`` fixes how sharp; ``history.worth`` has :math:`\Delta` itself. The paper
        trains its gates with the weights; this, and a prior under which all units have one price, is
        ours.

        Kept does not mean that motion decides. A network that has ST was not trained to do without, so
        that later layers may expect what ST adds; and of two units that can stand in for each other
        one is kept, which depends on the ``seed``.

        Args:
            model: the network, which stays as it is.
            data: batches of inputs (a tensor, or a tuple of them) and targets, such as a ``DataLoader``,
                read once for each unit and sweep.
            loss: a function of outputs and targets with the mean loss, or a loss for each clip, in
                nats; None for the cross-entropy of ``(N, classes)``.
            layers: which layers get gates, as modules or dotted names; None for all that can.
            options: ``learn`` (``("ST",)`` keeps S everywhere), ``price`` (3), ``samples`` (the number
                of clips), ``sweeps`` (5), ``draws`` (1), ``drop_probability`` (0.01), ``seed`` (0) and
                ``show_progress``; see :func:`captum_video.attr.fit_gates`.

        Returns:
            The posterior of the copy, which keeps everything until told otherwise; ``history`` has the
            worth of each unit, and the loss with all gates open and under the most probable strategy.

        Raises:
            TypeError: the model is no ``torch.nn.Module``, or batches of another kind.
            ValueError: a model without temporal kernels or with gates, an unknown layer, no clips,
                non-finite inputs or loss, or numbers out of their range.
        """
        check_model(model)
        copied = gated_copy(model, layers)
        made = cls(copied)
        made.history = fit_gates(copied, data, loss=loss, **options)
        return made

    def read(self) -> FusionReadout:
        """The posterior probability of each layer and unit.

        Returns:
            A mapping from layers to units to :math:`1 - p`, which can be written as a table.

        Raises:
            ValueError: the probabilities are not numbers.
        """
        for layer, gates in self._gates.items():
            if bool(gates.drop_logit.isnan().any()):
                raise ValueError(f"the drop probabilities of {layer!r} are not numbers")
        if self.history is None:
            return FusionReadout(self._gates)
        unused = 1 / (1 + math.exp(self.history.price))
        worth = {name: torch.tensor(row).double() for name, row in self.history.worth.items()}
        prior = {name: row.where(row.isnan(), torch.tensor(unused)) for name, row in worth.items()}
        return FusionReadout(self._gates, prior)

    def sample(self, count: int, *, seed: int = 0) -> list[Strategy]:
        """Draws strategies from the posterior.

        Args:
            count: how many; the same one may come twice.
            seed: of the draws; the global random state is left alone.

        Returns:
            The strategies, each with the logarithm of its probability.

        Raises:
            ValueError: a count below 1.
        """
        return sample_strategies(self.model, count, seed=seed)

    def most_probable(self) -> Strategy:
        """The strategy with the highest posterior probability.

        Returns:
            The strategy, with the logarithm of its probability.
        """
        return most_probable_strategy(self.model)

    @torch.no_grad()
    def evaluate(
        self,
        strategies: Sequence[Mapping[str, tuple[bool, ...]]],
        data: Iterable[tuple[Any, Any]],
        *,
        metric: Callable[[Any, Any], Tensor] | None = None,
        show_progress: bool = False,
    ) -> Tensor:
        """Scores strategies on clips, without training again.

        Statistics of batch norms stay those of training, where strategies were mixed.

        Args:
            strategies: truth values by layer, such as :meth:`sample` gives.
            data: batches of inputs (a tensor, or a tuple of them) and truth, read once; moved to the
                model's device.
            metric: a function of outputs and truth with a number for each clip, ``(N,)``; None for
                whether the highest of ``(N, classes)`` is the truth, a class number.
            show_progress: whether to show a bar over the batches.

        Returns:
            ``(strategies,)`` float64, the mean over all clips.

        Raises:
            TypeError: a strategy instead of a sequence of them, or batches of another kind.
            ValueError: no strategies, strategies for other layers, no clips, or truth or a metric of
                another shape.
            RuntimeError: a model with batch norm or dropout in training mode.
        """
        chosen = checked_strategies(self._gates, strategies)
        check_evaluation_mode(self.model)
        device = next(iter(self._gates.values())).drop_logit.device
        total, count = torch.zeros(len(chosen), dtype=torch.float64), 0
        score = metric or is_right
        batches = tqdm(data, desc="batches", disable=not show_progress, leave=False)
        for place, batch in enumerate(batches):
            clips, truth = unpacked(batch, place, device)
            for number, strategy in enumerate(chosen):
                values = {g: torch.tensor([strategy[n]]) for n, g in self._gates.items()}
                with untouched(self.model, device), forced_gates(values):
                    found = score(self.model(*clips), truth)
                if found.shape != (len(clips[0]),):
                    raise ValueError(
                        f"metric must give a number for each of {len(clips[0])} clips, got shape "
                        f"{tuple(found.shape)}"
                    )
                total[number] += found.double().sum().cpu()
            count += len(clips[0])
        if not count:
            raise ValueError("data must hold at least one clip, got none")
        return total / count

    @torch.no_grad()
    def export(self, strategy: Mapping[str, tuple[bool, ...]] | None = None) -> Module:
        """An ordinary network that does what the model does under a strategy.

        S joins the middle tap of ST, and what is dropped is gone, so that there are fewer parameters
        and operations; outputs are equal up to rounding. The model stays as it is.

        Args:
            strategy: truth values by layer; None for the one that the model holds.

        Returns:
            A copy, with torch's own layers for those with gates.

        Raises:
            ValueError: a strategy for other layers.
        """
        copied = copy.deepcopy(self.model)
        set_strategy(copied, current_strategy(copied) if strategy is None else strategy)
        return fixed_network(copied)

    @log_usage(part_of_slo=True)
    @torch.no_grad()
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        strategies: Sequence[Mapping[str, tuple[bool, ...]]] | None = None,
        internal_batch_size: int | None = 16,
        show_progress: bool = False,
    ) -> Tensor:
        r"""The effect of each unit on one decision: the score with it less the score without it.

        .. math:: R_{l,u} = \frac{1}{|E|} \sum_{\epsilon \in E}
                  \left[f(x; \epsilon, \epsilon_{l,u} = 1) - f(x; \epsilon, \epsilon_{l,u} = 0)\right]

        where :math:`f` is the target's score. Where S+ST has no gate of its own, its effect is that
        of both S and ST together. Effects of different layers do not add up to the score.

        Args:
            inputs: clips ``(N, C, T, H, W)``, or a tuple of inputs.
            target: in any form that Captum takes, or ``"predicted"``: the class that the model predicts
                under the strategy that it holds.
            additional_forward_args: further arguments of the model.
            strategies: :math:`E`, what the other units are; None for the strategy that the model holds.
            internal_batch_size: how many clips, each under one strategy, are run at a time; None for
                all at once.
            show_progress: whether to show a bar.

        Returns:
            ``(N, layers, units)``, detached, on the inputs' device.

        Raises:
            TypeError: for inputs that are no floating-point tensors, or a model that returns no tensor.
            ValueError: for empty or non-finite inputs, a target that does not fit, or no strategies or
                some for other layers.
            RuntimeError: for a model with batch norm or dropout in training mode.
        """
        clips = inputs if isinstance(inputs, tuple) else (inputs,)
        check_inputs(clips)
        check_evaluation_mode(self.model)
        extra = _format_additional_forward_args(additional_forward_args) or ()
        held = current_strategy(self.model)
        chosen = [held] if strategies is None else checked_strategies(self._gates, strategies)
        variants = Variants(self._gates, chosen)
        count, device = len(clips[0]), clips[0].device
        check_target_length(target, count)
        with untouched(self.model, device):
            if isinstance(target, str):
                values = {g: torch.tensor([held[n]]) for n, g in self._gates.items()}
                parts = map(torch.tensor, chunks(count, internal_batch_size))
                outputs = [one_tensor(self._outputs(clips, extra, rows, values)) for rows in parts]
                target = torch.cat([resolve_target(target, output) for output in outputs])
            scores = []
            pairs = chunks(count * len(variants.index), internal_batch_size)
            for part in tqdm(pairs, desc="units", disable=not show_progress, leave=False):
                places = torch.tensor(part)
                rows, values = places % count, variants.values(places // count)
                output = self._outputs(clips, extra, rows, values)
                scores.append(target_score(output, examples(target, rows, count)))
        table = torch.cat(scores).view(len(variants.index), count)
        effects = table[variants.kept.to(device)] - table[variants.dropped.to(device)]
        return effects.mean(0).permute(2, 0, 1).contiguous()

    def _outputs(
        self,
        clips: tuple[Tensor, ...],
        extra: tuple[Any, ...],
        rows: Tensor,
        values: Mapping[FusionGates, Tensor],
    ) -> Any:
        """The model's output for some examples, with a row of gate values for each or for all."""
        count = len(clips[0])
        batch = tuple(clip[rows.to(clip.device)] for clip in clips)
        with forced_gates(values):
            return self.model(*batch, *(examples(value, rows, count) for value in extra))
