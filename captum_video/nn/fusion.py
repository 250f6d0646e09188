"""The fusion unit: spatial and spatiotemporal paths behind gates, before a shared spatial kernel."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video._core.checks import check_choice
from captum_video.nn._frozen import trains
from captum_video.nn._hooks import refuse_additions
from captum_video.nn.gates import FusionGates, GatedModule

GateKind = Literal["two", "three"]
#: what each unit is called in readouts
S, ST, BOTH = "S", "ST", "S+ST"
GATES: dict[str, tuple[str, ...]] = {"two": (S, ST), "three": (S, ST, BOTH)}
GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
Triple = tuple[int, int, int]


class FusionUnit(GatedModule):
    r"""A factorised 3D convolution whose temporal part is chosen by gates (paper 3, figure 1).

    .. math:: y = W_{1 \times k \times k} * \left(\epsilon_S\, W^S_{1 \times 1 \times 1} * x
              + \epsilon_{ST}\, W^{ST}_{3 \times 1 \times 1} * x\right) + b

    with a gate for each sample in training mode, and a fixed strategy in evaluation mode, see
    :class:`FusionGates`. ``gates="two"`` is what the paper's code has: gates for S and ST, and S+ST
    is that both are open, with the product of their probabilities. ``gates="three"`` is what its text
    has: S+ST is a third unit with a gate and a pair of kernels of its own,
    :math:`+\, \epsilon_{S+ST} (W^{S'} * x + W^{ST'} * x)`. ``gates=None`` has no gates and keeps both
    paths, as an ordinary S+ST layer does.

    There is no non-linearity before the shared kernel. So S and ST are not two kinds of function: ST
    can do all that S can do, with its middle tap alone, and S+ST is a single temporal kernel. That
    ST is kept does not show that time is used, and that S is dropped does not show that it is not;
    what a closed ST gate shows is that the frames are looked at one by one. The regulariser, which
    makes a path cost what its weights are worth, is what decides between S and ST where both will do.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: height and width of the shared kernel, or one number for both.
        mid_channels: channels between the paths and the shared kernel; ``in_channels`` if not given.
        depth: taps of ST, an odd number.
        stride: in time (of the paths), height and width (of the shared kernel), or one number for all.
        padding: height and width, or one number for both; None for ``kernel_size // 2``. In time ST
            keeps all frames.
        dilation: height and width, or one number for both.
        groups: of all three convolutions.
        bias: whether the shared kernel has one; the paths have none.
        padding_mode: of the shared kernel, as for ``Conv3d``.
        temporal_padding: that of ST, likewise.
        gates: ``"two"``, ``"three"`` or None.
        temperature: of the gates.
        drop_probability: of the gates, at the start.
        device: of the parameters.
        dtype: of the parameters; the gates' have float32 or more.

    Attributes:
        s: the S path, a ``Conv3d``.
        st: the ST path, a ``Conv3d``.
        both: under ``gates="three"``, S+ST's own two paths, a ``ModuleList``; else None.
        spatial: the shared kernel, a ``Conv3d``.
        gates: :class:`FusionGates`, or None.

    Shape:
        ``(N, in_channels, T, H, W)`` to ``(N, out_channels, T', H', W')``; single clips too.

    Raises:
        ValueError: an even depth, an unknown kind of gates, padding by a word, or arguments that
            ``Conv3d`` or :class:`FusionGates` refuses.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        mid_channels: int | None = None,
        depth: int = 3,
        stride: int | Triple = 1,
        padding: int | tuple[int, int] | None = None,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Any = "zeros",
        temporal_padding: Any = "zeros",
        gates: GateKind | None = "two",
        temperature: float = 0.2,
        drop_probability: float | Sequence[float] = 0.1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if gates is not None:
            check_choice("gates", gates, tuple(GATES))
        if depth < 1 or depth % 2 == 0:
            raise ValueError(f"depth must be odd, so that S and ST see the same frame, got {depth}")
        if isinstance(padding, str):
            raise ValueError(f"padding must be one number or two (height, width), got {padding!r}")
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        mid = in_channels if mid_channels is None else mid_channels
        time, height, width = (stride,) * 3 if isinstance(stride, int) else stride

        def path(taps: int) -> nn.Conv3d:
            return nn.Conv3d(
                in_channels, mid, (taps, 1, 1), (time, 1, 1), (taps // 2, 0, 0), groups=groups,
                bias=False, padding_mode=temporal_padding, **made,
            )  # fmt: skip

        self.s, self.st = path(1), path(depth)
        self.both = nn.ModuleList([path(1), path(depth)]) if gates == "three" else None
        kernel = _pair(kernel_size)
        pads = (kernel[0] // 2, kernel[1] // 2) if padding is None else _pair(padding)
        self.spatial = nn.Conv3d(
            mid, out_channels, (1, *kernel), (1, height, width), (0, *pads), (1, *_pair(dilation)),
            groups, bias, padding_mode, **made,
        )  # fmt: skip
        self.gates = None
        if gates is not None:
            self.gates = FusionGates(
                GATES[gates], temperature=temperature, drop_probability=drop_probability,
                device=device, dtype=torch.promote_types(self.s.weight.dtype, torch.float32),
            )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Convolves.

        Args:
            x: ``(N, in_channels, T, H, W)`` or ``(in_channels, T, H, W)``.

        Returns:
            ``(N, out_channels, T', H', W')`` or ``(out_channels, T', H', W')``.
        """
        s, st = self.s(x), self.st(x)
        if self.gates is None:
            return self.spatial(s + st)
        gates = self.gates(x).unbind(-5)
        mixed = s * gates[0] + st * gates[1]
        if self.both is not None:
            mixed = mixed + (self.both[0](x) + self.both[1](x)) * gates[2]
        return self.spatial(mixed)

    def paths_of(self, unit: str) -> tuple[nn.Conv3d, ...]:
        """The convolutions that a unit has for itself.

        Args:
            unit: ``"S"``, ``"ST"``, or ``"S+ST"`` where that is a unit of its own.

        Returns:
            One convolution, or S+ST's two.
        """
        return {S: (self.s,), ST: (self.st,), BOTH: tuple(self.both or ())}[unit]  # type: ignore

    def weights_of(self, unit: str) -> tuple[Tensor, ...]:
        """The weights that a unit has for itself; the shared kernel belongs to none.

        Args:
            unit: ``"S"``, ``"ST"``, or ``"S+ST"`` where that is a unit of its own.

        Returns:
            The kernels of its paths.
        """
        return tuple(path.weight for path in self.paths_of(unit))

    @torch.no_grad()
    def fixed(self, kept: Sequence[bool]) -> nn.Module:
        """Two ordinary convolutions that do what this does under a strategy.

        S joins the middle tap of ST, so that the output is the same up to rounding.

        Args:
            kept: a truth value for each of the gates' units.

        Returns:
            A ``Sequential`` of ``temporal`` (1x1x1 or 3x1x1) and ``spatial``; without ``temporal``,
            :class:`Silent`, where nothing is kept. What parametrizations compute is copied as it is in
            evaluation mode.

        Raises:
            ValueError: hooks, on this or on its parts, or parts with a forward that is not Conv3d's,
                which would be lost.
        """
        for name, module in self.named_modules():
            refuse_additions(module, f"{type(self).__name__} {name}".strip())
        for one in (self.s, self.st, *(self.both or ()), self.spatial):
            if not has_ordinary_forward(one):
                raise ValueError(f"paths and shared kernel must be Conv3d layers, got {one!r}")
        units = GATES["two"] if self.gates is None else self.gates.units
        own = copy.deepcopy(self).eval()  # spectral norm moves when it is asked in training mode
        paths = [
            p for unit, keep in zip(units, kept, strict=True) if keep for p in own.paths_of(unit)
        ]
        spatial = ordinary(own.spatial, own.spatial.weight)
        if not paths:
            silent: nn.Module = Silent(spatial, self.s.stride[0])
            return silent.train(self.training)
        longest = max(paths, key=lambda path: path.kernel_size[0])
        temporal = ordinary(longest, _kernel(paths, longest.kernel_size[0]))
        temporal.weight.requires_grad_(any(trains(path, "weight") for path in paths))
        return nn.Sequential(OrderedDict(temporal=temporal, spatial=spatial)).train(self.training)


class Silent(nn.Module):
    """What a convolution answers where nothing reaches it: its bias, or zeros.

    Args:
        conv: the convolution, for its geometry and its bias.
        temporal_stride: of the frames before it.
    """

    def __init__(self, conv: nn.Conv3d, temporal_stride: int = 1) -> None:
        super().__init__()
        self.out_channels, self.temporal_stride = conv.out_channels, temporal_stride
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.padding, self.dilation = [int(p) for p in conv.padding], conv.dilation
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """The bias at every place of the output.

        Args:
            x: ``(N, C, T, H, W)`` or ``(C, T, H, W)``.

        Returns:
            ``(N, out_channels, T', H', W')`` or ``(out_channels, T', H', W')``.
        """
        frames, *size = x.shape[-3:]
        sizes = [(frames - 1) // self.temporal_stride + 1]
        for n, k, s, p, d in zip(
            size, self.kernel_size[1:], self.stride[1:], self.padding[1:], self.dilation[1:], strict=True
        ):  # fmt: skip
            sizes.append((n + 2 * p - d * (k - 1) - 1) // s + 1)
        zeros = x.new_zeros(*x.shape[:-4], self.out_channels, *sizes)
        return zeros if self.bias is None else zeros + self.bias.view(-1, 1, 1, 1)


@torch.no_grad()
def ordinary(like: Any, weight: Tensor) -> nn.Conv3d:
    """An ordinary convolution with a given kernel.

    Args:
        like: what has its geometry, its bias and its ``padding_mode``.
        weight: the kernel.

    Returns:
        A ``Conv3d`` with copies, each trainable where that of ``like`` is.
    """
    geometry = {name: getattr(like, name) for name in GEOMETRY}
    plain = nn.Conv3d(
        like.in_channels, like.out_channels, **geometry, bias=like.bias is not None, device="meta",
        dtype=weight.dtype,
    ).to_empty(device=weight.device)  # fmt: skip
    plain.weight.copy_(weight).requires_grad_(trains(like, "weight"))
    if plain.bias is not None:
        plain.bias.copy_(like.bias).requires_grad_(trains(like, "bias"))
    return plain


def has_ordinary_forward(module: object) -> bool:
    """Whether a module convolves as ``Conv3d`` does, its weights computed or not.

    Args:
        module: anything.

    Returns:
        True for ``Conv3d`` and its subclasses with the same forward.
    """
    kind: Any = type(module)
    return (
        isinstance(module, nn.Conv3d)
        and kind.forward is nn.Conv3d.forward
        and kind._conv_forward is nn.Conv3d._conv_forward
    )


def _kernel(paths: Sequence[nn.Conv3d], depth: int) -> Tensor:
    """The sum of kernels whose middle taps meet."""
    spare = [(depth - path.kernel_size[0]) // 2 for path in paths]
    kernels = [F.pad(p.weight, (0, 0, 0, 0, n, n)) for p, n in zip(paths, spare, strict=True)]
    return torch.stack(kernels).sum(0)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
