"""From a network for images to one for clips."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from captum_video._core.checks import check_choice
from captum_video.nn._inflate_calls import inflate_calls, inflate_wrapped_conv
from captum_video.nn._inflate_conv import FACTORIZED
from captum_video.nn._inflate_fusion import check_gate_options, layer_kinds, spatial_layers
from captum_video.nn._inflate_layers import LAYERS
from captum_video.nn._inflate_options import FUSED, NotInflatable, Options

ConvKind = Literal["3t", "3t-free", "3d", "fusion", "s", "st", "s+st"]
TemporalPadding = Literal["zeros", "replicate"]


def inflate(
    model: nn.Module,
    conv: ConvKind = "3t",
    *,
    depth: int | None = None,
    divide: bool | None = None,
    temporal_padding: TemporalPadding = "zeros",
    temporal_stride: bool = True,
    per_layer: Mapping[str, str] | Sequence[str] | None = None,
    gate_options: Mapping[str, Any] | None = None,
) -> nn.Module:
    r"""Makes a 2D network one for clips ``(N, C, T, H, W)``, with its weights.

    In ``"3t"`` and ``"3d"`` (paper 1, appendix C.2) a ``k x k`` convolution becomes one of
    ``k x k x k``, a 1x1 convolution one of 1x1x1, always ordinary. The weights are transferred: in
    ``"3d"``, every slice is the 2D kernel divided by the depth (Carreira and Zisserman 2017); in
    ``"3t"`` the first slice is the 2D kernel unchanged, and all transformations are the identity;
    for paper 3's kinds see below. Pools, norms, dropout, padding, upsampling and what a
    module's own forward calls become their 3D counterparts. Time follows height or width, whichever
    has the longer kernel (height if they are equal): kernel, stride and padding are as there, and
    padding is in proportion where the depth is not the kernel's size (an odd frame goes to the end).
    There is no dilation in time. Adaptive pools leave a single time step, so that linear layers
    after them fit.

    **Spatial and temporal kernels apart** (paper 3, supplement, section 3). In ``"fusion"``,
    ``"s+st"``, ``"s"`` and ``"st"`` a convolution with a kernel larger than 1x1 stays spatial, 1 x k x k
    with the 2D weights and the bias, behind paths from its input channels to as many, in its groups:
    S is 1x1x1, ST ``depth`` x 1 x 1. ``"fusion"`` is a :class:`FusionUnit` with gates, ``"s+st"`` one
    without; ``"s"`` and ``"st"`` are a ``Sequential`` of ``temporal`` and ``spatial``. Every path
    starts as the identity, each tap of ST divided by ``depth``. Where there are several units, each
    starts with an equal share, half of it for either path of a third one, so that their sum passes
    on what a single one would: a dropped gate halves the signal at the start, or takes a third of
    it. Paths and gates are new weights of each layer, also where layers have the same kernel.

    ST keeps all frames but those that ``temporal_stride`` skips, whatever is padded in space. So that
    branches fit, max pools with odd windows do too, unless they round up (``ceil_mode``), and layers
    that pad maps pad height and width alone. Pools take in time, in ``"s"`` too, as the paper says of
    its spatial mode (without ``temporal_stride``, strided ones do not); its template network does not
    stride in time.

    The paper's figure has the units where bottlenecks have their 1x1 convolution, and its text takes
    them, with strategies "roughly", to DenseNet121, ResNet50, MobileNetV2, ResNeXt50 and ResNeXt101.
    Here a unit stands before each spatial convolution, so that backbones without bottlenecks have
    them too, and 1x1 convolutions stay.

    **What is equal to what.** With the weights divided and ``temporal_padding="replicate"``, every
    layer answers a clip of equal frames with equal frames, each of them what the 2D layer answers; so
    the whole network answers such a clip as the 2D network answers its frame, up to rounding.
    Not so where maps become features before time is gone (``Flatten`` without an adaptive pool), and
    for batch statistics, dropout and gates in training mode. Undivided kernels multiply what a
    convolution (of paper 3's kinds, the path ST) gives by its depth, bias apart, and zeros darken the
    first and last frames; ``tests/benchmarks/conv3t.py`` measures both.

    The model given stays as it is. The result has its submodules under the same names, its training
    flags, dtype, device and ``requires_grad`` (transformations, paths and gates follow the kernel),
    and shares modules and weights where it does. Three things look different: a layer that needs
    padding apart is a ``Sequential`` that ends in the layer, ``conv`` or ``pool``, so that
    ``temporal_padding`` changes the names in a ``state_dict`` (a layer with hidden padding would lose
    it when ``to_conv3d`` replaces it); a module whose own forward called a 2D function is a
    ``torch.fx.GraphModule`` with the same children, without its other methods; and a subclass of
    ``Conv2d`` that runs layers of its own before the convolution is a ``Sequential`` of these and
    ``conv``. Calls are found by ``torch.fx``; in a forward that it cannot trace, by name, where
    axes given by number are not seen, except those of height and width in a pair.

    **Axes by number.** A clip's axes 2, 3, -3 and -4 are other ones than an image's. Means and
    extrema over height and width take in time. Any other call or layer that names an axis by a
    number that changes, counts places (sums, norms, standard deviations over height and width) or
    reads a frame's size is refused. The axes of each tensor are followed from the layers of a module;
    what it is given is taken for maps ``(N, C, H, W)``, so that calls on tokens may be refused too.

    Args:
        model: the 2D network.
        conv: ``"3t"`` for :class:`Conv3T`, ``"3t-free"`` for :class:`FreeConv3T`, ``"3d"`` for
            ``torch.nn.Conv3d``, ``"fusion"`` for S and ST behind gates, ``"s+st"``, ``"s"`` or
            ``"st"`` for what a strategy may keep of them.
        depth: of all kernels but 1x1; as large as their longer side if not given. For paper 3's kinds
            of ST, an odd number, 3 if not given.
        divide: whether kernels are divided by their depth (for paper 3's kinds, the taps of ST); None
            for no in ``"3t"`` and ``"3t-free"``, as in paper 1, and yes in the others.
        temporal_padding: ``"zeros"``, or ``"replicate"`` for copies of the first and the last frame,
            in convolutions, average pools and layers that pad with a constant; a spatial padding mode
            other than zeros holds in time too.
        temporal_stride: whether time is strided as space is; if not, convolutions and pools keep
            every frame (a strided pool is spatial alone).
        per_layer: for paper 3's kinds, which of them each layer is: a sequence with an entry for each
            of :func:`fusion_layers`, in their order, as ``strategy.at_depth(count)`` gives for a
            strategy found in another network; or a mapping from names, as ``strategy.kinds()`` gives
            for one found in this network's ``"fusion"``, where ``conv`` holds for what is left out.
        gate_options: for ``"fusion"``, the ``gates``, ``temperature`` and ``drop_probability`` of
            :class:`FusionUnit`.

    Returns:
        The 3D network.

    Raises:
        ValueError: an unknown option, or one that ``conv`` has no use for; a depth below 1 (below 2 for
            kernels that are transformed), or an even one of ST; in ``per_layer`` unknown layers or
            kinds, too few or too many, or two for a layer with two names; a model without 2D
            convolutions, or one with a layer or a call that has no counterpart or cannot be transferred
            faithfully; the text names the module.
        TypeError: the model is no ``torch.nn.Module``, ``depth`` no whole number, or ``per_layer`` a
            :class:`Strategy` itself or otherwise no kinds.

    Warns:
        UserWarning: for a module whose forward could only be searched by name.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    check_choice("conv", conv, get_args(ConvKind))
    check_choice("temporal_padding", temporal_padding, ("zeros", "replicate"))
    _check_depth(depth, conv)
    for name, module in model.named_modules():
        _check(name, module)
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        raise ValueError(
            f"model must have 2D convolutions, got {type(model).__name__} without torch.nn.Conv2d."
        )
    kinds = _kinds(model, conv, per_layer, gate_options)
    copied = copy.deepcopy(model)
    options = Options(
        conv=conv,
        depth=depth,
        divide=conv not in FACTORIZED if divide is None else divide,
        temporal_padding=temporal_padding,
        temporal_stride=temporal_stride,
        gate_options=gate_options or {},
        kinds={id(copied.get_submodule(name)): kind for name, kind in kinds.items()},
    )
    names = {id(module): (name, module) for name, module in copied.named_modules()}
    new = _inflated("", copied, options, {})
    if options.order.moved and options.order.assuming:
        key, call = next(iter(options.order.assuming.items()))
        raise ValueError(
            f"inflate cannot handle {_called(*names[key])}: it calls {call} along an axis by number, "
            "and whether that is one of channels cannot be told, as the model moves its channels."
        )
    return new


def fusion_layers(model: nn.Module) -> list[str]:
    """The layers of a 2D network that :func:`inflate` gives paths or gates as in paper 3.

    Args:
        model: the 2D network.

    Returns:
        The dotted names of its convolutions with kernels larger than 1x1, each once, in the order in
        which the network registers them (not that of the calls), as ``per_layer`` takes a sequence of
        kinds; their number is what
        :meth:`Strategy.at_depth <captum_video.nn.Strategy.at_depth>` takes.
    """
    return list(spatial_layers(model))


def _kinds(
    model: nn.Module,
    conv: str,
    per_layer: Mapping[str, str] | Sequence[str] | None,
    gate_options: Mapping[str, Any] | None,
) -> dict[str, str]:
    """The kinds of the layers that get paths, by name; none for other kinds of convolution."""
    if conv in FUSED:
        kinds = layer_kinds(model, conv, per_layer)
        check_gate_options({} if gate_options is None else gate_options, kinds)
        return kinds
    for name, value in (("per_layer", per_layer), ("gate_options", gate_options)):
        if value is not None:
            expected = " or ".join(repr(kind) for kind in FUSED)
            raise ValueError(f"{name} needs conv={expected}, got conv={conv!r}.")
    return {}


def _check_depth(depth: int | None, conv: str) -> None:
    if depth is None:
        return
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise TypeError(f"depth must be a whole number, got {depth!r}.")
    least = 2 if conv in FACTORIZED else 1
    if depth < least:
        raise ValueError(f"depth must be at least {least} for conv={conv!r}, got {depth}.")
    if conv in FUSED and depth % 2 == 0:
        raise ValueError(
            f"depth must be odd for conv={conv!r}, so that S and ST see the same frame, got {depth}."
        )


def _inflated(
    name: str, module: nn.Module, options: Options, done: dict[int, tuple[nn.Module, nn.Module]]
) -> nn.Module:
    """The module with its children inflated, or what replaces it."""
    if id(module) in done:
        return done[id(module)][1]
    if any(module is layer for layer in options.layers):
        return module
    try:
        # before its children change, whose weights it may use
        new = inflate_calls(module, options) if _calls_itself(type(module)) else module
        for child_name, child in new._modules.items():
            if child is not None:
                dotted = f"{name}.{child_name}" if name else child_name
                new._modules[child_name] = _inflated(dotted, child, options, done)
        if new is module:
            new = _replacement(module, options)
    except NotInflatable as error:
        raise ValueError(f"inflate cannot handle {_called(name, module)}: {error}.") from error
    if new is not module:
        _refuse_hooks(name, module)
    # the old module is kept, as its id must not be given to another
    done[id(module)] = module, new
    return new


def _calls_itself(kind: type[nn.Module]) -> bool:
    """Whether a class has a forward of its own, and is not derived from a layer of torch."""
    derived = any(known in LAYERS and known is not nn.LayerNorm for known in kind.__mro__)
    return not derived and not kind.forward.__module__.startswith("torch.nn.")


def _replacement(module: nn.Module, options: Options) -> nn.Module:
    """What a layer becomes, whose children have been inflated; what is no 2D layer stays."""
    kind = type(module)
    if kind in LAYERS:
        return LAYERS[kind](module, options).train(module.training)
    base = next((known for known in kind.__mro__ if known in LAYERS), None)
    if base is None or base is nn.LayerNorm:
        return module
    own = [k for k, v in _own_members(kind, base).items() if callable(v) and k not in _HARMLESS]
    if isinstance(module, nn.Conv2d) and own == ["forward"]:
        return inflate_wrapped_conv(module, options)
    if own:
        raise NotInflatable(f"its class changes {own[0]} of {base.__name__}")
    return LAYERS[base](module, options).train(module.training)


_HARMLESS = ("__init__", "__repr__", "extra_repr", "reset_parameters")


def _own_members(kind: type, base: type) -> dict[str, object]:
    """What a class and its parents define, down to a known base."""
    members: dict[str, object] = {}
    for parent in kind.__mro__[: kind.__mro__.index(base)]:
        members |= vars(parent)
    return members


def _check(name: str, module: nn.Module) -> None:
    """Refuses what would be lost or cannot be read."""
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        raise ValueError(
            f"inflate cannot handle {_called(name, module)}: it is lazy and has no weights yet; "
            "run the model on an image first."
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"inflate cannot handle {_called(name, module)}: it is scripted; give the original."
        )
    if parametrize.is_parametrized(module):
        raise ValueError(
            f"inflate cannot handle {_called(name, module)}: it has parametrizations; remove them "
            "with torch.nn.utils.parametrize.remove_parametrizations first."
        )
    if isinstance(module, nn.Conv2d):
        _refuse_hooks(name, module)  # before the copy, which weight norm's hook breaks


def _refuse_hooks(name: str, module: nn.Module) -> None:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, kind) for kind in kinds):
        raise ValueError(
            f"inflate cannot handle {_called(name, module)}: it has hooks, which would be lost; "
            "remove them (weight norm, spectral norm, pruning) first."
        )


def _called(name: str, module: nn.Module) -> str:
    return f"{name!r} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"
