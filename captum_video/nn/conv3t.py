"""3D convolutions whose kernels are one spatial slice, transformed from step to step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.common_types import _size_3_t

from captum_video.nn.sampling import affine_maps, sampling_matrices, stacked_slices

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class FactorizedConv3d(nn.Module, ABC):
    """A 3D convolution whose kernel is a first slice and what becomes of it in each step.

    The arguments are those of :class:`torch.nn.Conv3d`. There is no parameter ``weight``: the kernel
    is built from the first slice by ``steps = kernel depth - 1`` sampling matrices for each output
    channel, all input channels alike. Built once and kept while in evaluation mode, as long as
    neither a parameter's value changes nor a gradient for a parameter is wanted.

    Attributes:
        first_slice: ``(out_channels, in_channels / groups, height, width)``.
        bias: ``(out_channels,)`` or None.
        steps: number of transformations.
        transform_names: the names of their parameters.
    """

    bias: Parameter | None
    transform_names: tuple[str, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _size_3_t,
        stride: _size_3_t = 1,
        padding: str | _size_3_t = 0,
        dilation: _size_3_t = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        # torch's own checks and defaults
        plain = nn.Conv3d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device="meta",
        )  # fmt: skip
        depth, height, width = plain.kernel_size
        if depth < 2:
            raise ValueError(
                f"kernel_size must be at least 2 in time, got {kernel_size}: without a second slice "
                "there is nothing to transform; use torch.nn.Conv3d"
            )
        if height * width < 2:
            raise ValueError(
                f"kernel_size must be more than one tap in space, got {kernel_size}: a single tap "
                "has no scale, rotation or translation; use torch.nn.Conv3d"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = (
            plain.kernel_size,
            plain.stride,
            plain.dilation,
        )
        self.padding, self.padding_mode = plain.padding, plain.padding_mode
        self._reversed_padding_repeated_twice = plain._reversed_padding_repeated_twice
        self.output_padding, self.transposed = plain.output_padding, False
        self.steps = depth - 1
        self._kept: tuple[tuple[Tensor, ...], Tensor] | None = None
        made = {"device": device, "dtype": dtype}
        self.first_slice = Parameter(
            torch.empty(out_channels, in_channels // groups, height, width, **made)
        )
        self.register_parameter(
            "bias", Parameter(torch.empty(out_channels, **made)) if bias else None
        )
        self._add_transforms(made)
        self.reset_parameters()

    @abstractmethod
    def _add_transforms(self, made: dict[str, Any]) -> None:
        """Registers the parameters of the transformations."""

    @abstractmethod
    def reset_transforms(self) -> None:
        """Sets every transformation to the identity."""

    @abstractmethod
    def sampling(self) -> Tensor:
        """The sampling matrix of each step and output channel.

        Returns:
            ``(steps, out_channels, P, P)`` with ``P = height * width``.
        """

    def reset_parameters(self) -> None:
        """Draws the first slice and the bias anew and sets the transformations to the identity.

        The first slice is normal, as in the paper, with the variance that ``Conv3d`` starts with,
        one third of the inverse fan-in; the paper's released code draws it with variance 1.
        """
        fan_in = self.first_slice[0].numel() * self.kernel_size[0]
        nn.init.normal_(self.first_slice, std=math.sqrt(1 / (3 * fan_in)))
        if self.bias is not None:
            bound = 1 / math.sqrt(fan_in)
            nn.init.uniform_(self.bias, -bound, bound)
        self.reset_transforms()

    def kernel(self) -> Tensor:
        """The kernel, differentiable in the parameters.

        Returns:
            ``(out_channels, in_channels / groups, depth, height, width)``, not shared with the layer.
        """
        kernel = self._kernel()
        return kernel.clone() if self._kept is not None and kernel is self._kept[1] else kernel

    def _kernel(self) -> Tensor:
        """The kernel, which may be the one that is kept."""
        sources = (self.first_slice, *self._transforms())
        wanted = torch.is_grad_enabled() and any(p.requires_grad for p in sources)
        if self.training or wanted or _without_values(self.first_slice):
            return self._build()
        kept = self._kept
        if kept is None or not all(map(_equal, kept[0], sources)):
            with torch.inference_mode(False), torch.no_grad():
                kept = tuple(p.detach().clone() for p in sources), self._build()
            self._kept = kept
        return kept[1]

    def forward(self, x: Tensor) -> Tensor:
        """Convolves.

        Args:
            x: ``(N, in_channels, T, H, W)`` or ``(in_channels, T, H, W)``.

        Returns:
            As :class:`torch.nn.Conv3d` with the same kernel.
        """
        return nn.Conv3d._conv_forward(self, x, self._kernel(), self.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def to_conv3d(self) -> nn.Conv3d:
        """An ordinary layer with this kernel, for use without this library.

        Returns:
            A layer that gives the same output, with copies of kernel and bias, in the same mode.
        """
        kernel = self._build()
        arguments: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        }
        plain = nn.Conv3d(
            self.in_channels, self.out_channels, **arguments,
            bias=self.bias is not None, device="meta", dtype=kernel.dtype,
        ).to_empty(device=kernel.device)  # fmt: skip
        plain.weight.copy_(kernel)
        if self.bias is not None:
            assert plain.bias is not None
            plain.bias.copy_(self.bias)
        return plain.train(self.training)

    def extra_repr(self) -> str:
        """The arguments, as :class:`torch.nn.Conv3d` shows them."""
        return nn.Conv3d.extra_repr(self)  # type: ignore[arg-type]

    def _transforms(self) -> tuple[Tensor, ...]:
        """The parameters of the transformations, also where pruning or the like computes them."""
        return tuple(getattr(self, name) for name in self.transform_names)

    def _build(self) -> Tensor:
        device = self.first_slice.device.type
        mixed = torch.amp.is_autocast_available(device)
        # coordinates need more digits than half precision has
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            sampling = self.sampling()
            first = self.first_slice.to(sampling.dtype)
            return stacked_slices(first, sampling).to(self.first_slice.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


class Conv3T(FactorizedConv3d):
    r"""The temporally factorized 3D convolution: later slices are affine transforms of the first.

    .. math:: K_{b+1}(p) = K_b(M_b\, p), \qquad
              M_b = s_b R(r_b) \begin{bmatrix} 1 & 0 & t_{x,b} \\ 0 & 1 & t_{y,b} \end{bmatrix}

    (paper 1, equations 3 to 9), sampled bilinearly with zeros outside. The four parameters of each
    step and output channel start at the identity, where all slices are equal. They describe where a
    slice *samples* the previous one, so the content moves the other way: ``scale`` 2 shrinks it,
    ``rotation`` > 0 (radians) turns it counter-clockwise, ``translation_x`` > 0 moves it left by
    :math:`t_x (k - 1) / 2` taps and ``translation_y`` > 0 up.
    :class:`captum_video.TemporalParameters` reads them as motion. To the tracers of ``torch.fx`` it
    is a leaf: ``leaf_modules=[Conv3T]`` in torchvision's ``create_feature_extractor``.

    Even kernels are transformed about the point between their middle taps. In a rectangular kernel
    the unit is half its width along x and half its height along y, as ``affine_grid`` has it, so
    that a rotation also shears. At scale 0 a slice is its predecessor's middle everywhere.

    Departure from the text: equation 9 names one coordinate of the grid twice, where the second is
    meant; the paper's equation for the depth-wise product is applied slice after slice, each sampled
    from the one before, as in equation 3.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: depth, height and width, or one number for all.
        stride: as for ``Conv3d``.
        padding: as for ``Conv3d``, ``"same"`` and ``"valid"`` included.
        dilation: as for ``Conv3d``.
        groups: as for ``Conv3d``.
        bias: whether there is one.
        padding_mode: as for ``Conv3d``.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        scale: ``(steps, out_channels)``.
        rotation: ``(steps, out_channels)``, radians.
        translation_x: ``(steps, out_channels)``, half widths of the kernel.
        translation_y: ``(steps, out_channels)``, half heights of the kernel.

    Raises:
        ValueError: for a kernel without a second slice or with a single tap in space, or arguments
            that ``Conv3d`` refuses.
    """

    transform_names = ("scale", "rotation", "translation_x", "translation_y")
    scale: Parameter
    rotation: Parameter
    translation_x: Parameter
    translation_y: Parameter

    def _add_transforms(self, made: dict[str, Any]) -> None:
        for name in self.transform_names:
            empty = torch.empty(self.steps, self.out_channels, **made)
            self.register_parameter(name, Parameter(empty))

    def reset_transforms(self) -> None:
        """Sets scale to 1, rotation and translation to 0."""
        nn.init.ones_(self.scale)
        for parameter in (self.rotation, self.translation_x, self.translation_y):
            nn.init.zeros_(parameter)

    def maps(self) -> Tensor:
        """The sampling map of each step and output channel.

        Returns:
            ``(steps, out_channels, 2, 3)``, see :func:`captum_video.nn.affine_maps`, in float32 or
            more.
        """
        wide = torch.promote_types(self.scale.dtype, torch.float32)
        return affine_maps(*(parameter.to(wide) for parameter in self._transforms()))

    def sampling(self) -> Tensor:
        """Bilinear sampling at each map.

        Returns:
            ``(steps, out_channels, P, P)``.
        """
        _, height, width = self.kernel_size
        return sampling_matrices(self.maps(), (height, width))


class FreeConv3T(FactorizedConv3d):
    r"""The 3TConv with unconstrained transformations, which the paper's discussion compares with.

    Each step multiplies the flattened slice by a learned matrix,
    :math:`K_{b+1} = \Theta_b K_b` (paper 1, equation 3), that starts at the identity and need not
    be an affine map. It has :math:`(h w)^2` parameters for each step and output channel instead of 4.

    Args and errors are those of :class:`Conv3T`.

    Attributes:
        transform: ``(steps, out_channels, P, P)`` with ``P = height * width``.
    """

    transform_names = ("transform",)
    transform: Parameter

    def _add_transforms(self, made: dict[str, Any]) -> None:
        taps = self.kernel_size[1] * self.kernel_size[2]
        empty = torch.empty(self.steps, self.out_channels, taps, taps, **made)
        self.register_parameter("transform", Parameter(empty))

    @torch.no_grad()
    def reset_transforms(self) -> None:
        """Sets every matrix to the identity."""
        taps = self.transform.shape[-1]
        self.transform.copy_(torch.eye(taps, device=self.transform.device))

    def sampling(self) -> Tensor:
        """The matrices themselves, in float32 or more.

        Returns:
            ``(steps, out_channels, P, P)``.
        """
        return self.transform.to(torch.promote_types(self.transform.dtype, torch.float32))


def _without_values(tensor: Tensor) -> bool:
    """Whether values cannot be compared: in compilers, tracers, transforms and on no device."""
    compiled = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return compiled or tensor.is_meta or torch._C._functorch.maybe_current_level() is not None


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
