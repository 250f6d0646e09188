"""Gates for trained 3D convolutions: their kernels split into temporal mean and rest."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Module, Parameter

from captum_video.nn._frozen import freeze, trains
from captum_video.nn._hooks import refuse_additions
from captum_video.nn.conv3t import FactorizedConv3d
from captum_video.nn.fusion import ST, S, has_ordinary_forward, ordinary
from captum_video.nn.gates import FusionGates, GatedModule, gated_modules

#: what a convolution is made of, beside kernel and bias
GEOMETRY = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
    "padding_mode", "output_padding", "transposed", "_reversed_padding_repeated_twice",
)  # fmt: skip


class SplitConv3d(GatedModule):
    r"""A trained 3D convolution with gates for the temporal mean of its kernel and for the rest.

    .. math:: y = \epsilon_S\, \bar{W} * x + \epsilon_{ST}\, (W - \bar{W}) * x + b, \qquad
              \bar{W}_\tau = \frac{1}{k_t} \sum_{\tau'} W_{\tau'} \text{ for all } \tau

    Of all kernels whose temporal taps are equal, :math:`\bar{W}` is the nearest to :math:`W`. Inside
    its window it cannot tell in which order the frames come. S is this part, and ST is what differs
    from tap to tap. The paper trains S and ST as paths of their own, see
    :class:`captum_video.nn.FusionUnit`; for networks that are trained already this split is ours.
    With both gates open the layer is what it was, to the last bit where nothing is drawn.

    What it can say: with the ST gate closed, the layer only sums over its window of frames. That a
    network does without ST shows that it needs no order of frames there.

    What it cannot say: S still mixes neighbouring frames (it blurs), so that it is not the 1x1x1 path
    of the paper. With the S gate closed nothing of what stands still passes, so S is needed in most
    layers whatever the question. Sums that are the same for both orders inside the window may
    differ at the ends of the clip; there, zero padding in time also lets ST answer to still clips.
    Behind strides, pools or further layers order can also be told by S alone, from where in the clip
    something happens.

    Args:
        conv: the layer, a ``Conv3d`` or a :class:`captum_video.nn.FactorizedConv3d` such as
            ``Conv3T``. Kernel and bias are copied, and frozen.
        temperature: of the gates.
        drop_probability: of the gates, at the start.

    Attributes:
        weight: the whole kernel, ``(out_channels, in_channels / groups, depth, height, width)``.
        bias: ``(out_channels,)`` or None.
        gates: :class:`FusionGates` for ``("S", "ST")``.
        trained: whether the layer's kernel, and whether its bias was trainable.

    Shape:
        as that of the layer.

    Raises:
        TypeError: ``conv`` is neither.
        ValueError: it has a single tap in time, or weights that are not finite; or arguments that
            :class:`FusionGates` refuses.
    """

    gates: FusionGates
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int, int]
    bias: Parameter | None

    def __init__(
        self,
        conv: nn.Conv3d | FactorizedConv3d,
        *,
        temperature: float = 0.2,
        drop_probability: float | Sequence[float] = 0.1,
    ) -> None:
        super().__init__()
        if not _has_ordinary_forward(conv):
            raise TypeError(
                "conv must be a Conv3d or a FactorizedConv3d with the forward of that class, got "
                f"{type(conv).__name__}"
            )
        if conv.kernel_size[0] < 2:
            raise ValueError(
                f"conv must have more than one tap in time, got the kernel size {conv.kernel_size}"
            )
        for name in GEOMETRY:
            setattr(self, name, getattr(conv, name))
        self.trained = trains(conv, "weight"), trains(conv, "bias")
        kernel = conv.kernel() if isinstance(conv, FactorizedConv3d) else conv.weight
        self.weight = Parameter(kernel.detach().clone(), requires_grad=False)
        bias = None if conv.bias is None else conv.bias.detach().clone()
        self.register_parameter(
            "bias", None if bias is None else Parameter(bias, requires_grad=False)
        )
        for tensor in (self.weight, self.bias):
            if tensor is not None and not bool(tensor.isfinite().all()):
                raise ValueError("conv must have finite weights, got some that are NaN or infinite")
        self.gates = FusionGates(
            (S, ST),
            temperature=temperature,
            drop_probability=drop_probability,
            device=self.weight.device,
            dtype=torch.promote_types(self.weight.dtype, torch.float32),
        )
        self.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        """Convolves.

        Args:
            x: ``(N, in_channels, T, H, W)`` or ``(in_channels, T, H, W)``.

        Returns:
            ``(N, out_channels, T', H', W')`` or ``(out_channels, T', H', W')``.
        """
        s, st = self.gates(x).unbind(-5)
        mean = self._mean()
        if s.numel() == 1:  # one kernel for all clips; the layer's own, exactly, with open gates
            kernel = st * self.weight + (s - st) * mean
            return self._convolved(x, kernel.to(self.weight.dtype), self.bias)
        whole = self._convolved(x, self.weight, None)
        y = st * whole + (s - st) * self._convolved(x, mean, None)
        return y if self.bias is None else y + self.bias.view(-1, 1, 1, 1)

    def _convolved(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        return nn.Conv3d._conv_forward(self, x, kernel, bias)  # type: ignore[arg-type]

    def _mean(self) -> Tensor:
        """The mean slice at every tap."""
        return self.weight.mean(2, keepdim=True).expand_as(self.weight)

    def weights_of(self, unit: str) -> tuple[Tensor, ...]:
        """The part of the kernel that a unit is.

        Args:
            unit: ``"S"`` or ``"ST"``.

        Returns:
            The mean slice at every tap, or the rest; both of the kernel's shape.
        """
        return ({S: self._mean, ST: lambda: self.weight - self._mean()}[unit](),)

    @torch.no_grad()
    def fixed(self, kept: Sequence[bool]) -> nn.Conv3d:
        """An ordinary convolution that does what this does under a strategy.

        Args:
            kept: whether S, and whether ST is kept.

        Returns:
            A ``Conv3d`` of the same geometry; where nothing is kept, with a kernel of zeros. Kernel
            and bias are trainable where the layer's were.

        Raises:
            ValueError: hooks, which would be lost.
        """
        refuse_additions(self, type(self).__name__)
        refuse_additions(self.gates, "gates")
        s, st = (float(value) for value in kept)
        plain = ordinary(self, st * self.weight + (s - st) * self._mean())
        plain.weight.requires_grad_(self.trained[0])
        if plain.bias is not None:
            plain.bias.requires_grad_(self.trained[1])
        return plain.train(self.training)

    def extra_repr(self) -> str:
        """The arguments, as :class:`torch.nn.Conv3d` shows them."""
        return nn.Conv3d.extra_repr(self)  # type: ignore[arg-type]


def split_temporal_kernels(
    model: Module,
    layers: Iterable[Module] | None = None,
    *,
    temperature: float = 0.2,
    drop_probability: float = 0.1,
) -> Module:
    """Gives a trained 3D network gates: a copy with :class:`SplitConv3d` for its convolutions.

    Every ``Conv3d`` with more than one tap in time and every
    :class:`captum_video.nn.FactorizedConv3d` is replaced, one that is used in several places by one
    and the same. Classes with a forward of their own, ``ConvTranspose3d`` and recurrent layers are
    left alone. The copy is in evaluation mode, where its output is that of the model; all but the
    gates' parameters is frozen until :meth:`captum_video.FusionPosterior.export`. The model stays as
    it was.

    Args:
        model: the network.
        layers: those of its modules that get gates; None for all that can.
        temperature: of the gates.
        drop_probability: of the gates, at the start.

    Returns:
        The copy.

    Raises:
        TypeError: ``model`` is no ``torch.nn.Module``.
        ValueError: the model has gates already, no temporal kernel, or one whose weights are not
            finite or that has hooks or a forward of its own, which would be lost; it cannot be
            copied; or one of ``layers`` is not in the model or cannot be split.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    model = getattr(model, "_orig_mod", model)  # behind torch.compile
    if gated_modules(model):
        raise ValueError(
            f"model must be without gates, got {type(model).__name__} with gates in "
            f"{', '.join(gated_modules(model))}"
        )
    names = _chosen(model, layers)
    try:
        copied = copy.deepcopy(model).eval()
    except Exception as error:
        raise ValueError(
            f"model must be one that copy.deepcopy can copy, but {type(model).__name__} raised "
            f"{type(error).__name__}: {error}"
        ) from error
    split: dict[int, Module] = {}
    for name in names:
        module = copied.get_submodule(name)
        try:
            split[id(module)] = SplitConv3d(
                module,  # type: ignore[arg-type]
                temperature=temperature,
                drop_probability=drop_probability,
            )
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
    if id(copied) in split:
        return split[id(copied)]
    freeze(copied)
    for parent in list(copied.modules()):
        for name, child in parent._modules.items():
            if id(child) in split:
                parent._modules[name] = split[id(child)]
    return copied


def can_be_split(module: Module) -> bool:
    """Whether a module is a convolution with more than one tap in time that we know how to run.

    Args:
        module: any module.

    Returns:
        True for ``Conv3d`` and ``FactorizedConv3d``, and their subclasses with the same forward.
    """
    return _has_ordinary_forward(module) and module.kernel_size[0] > 1  # type: ignore


def _has_ordinary_forward(module: object) -> bool:
    """Whether a module does what its class of convolutions does."""
    if isinstance(module, FactorizedConv3d):
        return type(module).forward is FactorizedConv3d.forward
    return has_ordinary_forward(module)


def _chosen(model: Module, layers: Iterable[Module] | None) -> list[str]:
    """The names of the modules to split, each once; nothing of them would be lost."""
    named = {module: name for name, module in model.named_modules()}
    wanted = list(filter(can_be_split, named)) if layers is None else list(dict.fromkeys(layers))
    if not wanted:
        kinds = Counter(
            type(m).__name__ for m in named if next(m.parameters(False), None) is not None
        )
        has = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no parameters"
        raise ValueError(
            "model must have a Conv3d or captum_video.nn.FactorizedConv3d with more than one tap in "
            f"time, got {type(model).__name__} with {has}"
            if layers is None
            else "layers must name at least one layer, got none"
        )
    for module in wanted:
        if module not in named:
            raise ValueError(f"layers must be modules of the model, got another {module!r}")
        if not can_be_split(module):
            raise ValueError(
                f"layer {named[module]!r} must be a Conv3d or captum_video.nn.FactorizedConv3d with "
                f"more than one tap in time and no forward of its own, got {module!r}"
            )
        refuse_additions(module, f"layer {named[module]!r}")
    return [named[module] for module in wanted]
