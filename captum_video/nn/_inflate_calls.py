"""2D functions that a module's own forward calls, found by tracing it and replaced by 3D ones."""

from __future__ import annotations

import copy
import dis
import inspect
import itertools
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import fx, nn

from captum_video.nn._inflate_follow import follow
from captum_video.nn._inflate_layers import inflate_any_conv
from captum_video.nn._inflate_nodes import REDUCTIONS, call_name, layer_for, needs_rewrite, rewrite
from captum_video.nn._inflate_options import NotInflatable, Options


class _OwnCalls(fx.Tracer):
    """Follows what a module does itself, and nothing that its children do."""

    proxy_buffer_attributes = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Every child is one."""
        return True


def inflate_calls(module: nn.Module, options: Options) -> nn.Module:
    """The module with its own 2D calls replaced.

    Args:
        module: has a forward of its own; its children are still two-dimensional and stay so.
        options: see :func:`captum_video.nn.inflate`; gets the layers that replace calls.

    Returns:
        The module itself if it calls no 2D function, else a ``GraphModule`` with the same children,
        parameters and buffers.

    Raises:
        NotInflatable: a call without a counterpart, or one in a forward that cannot be traced or
            does something else in training than in evaluation.
    """
    try:
        graphs = {training: _trace(module, training) for training in (False, True)}
    except Exception as error:  # whatever the module's own code raises
        _search_untraced(module, error, options)
        return module
    for graph in graphs.values():
        follow(graph, module, options.order)
    calls = [
        node for graph in graphs.values() for node in graph.nodes if needs_rewrite(node, module)
    ]
    if not calls:
        return module
    call = _first_call(calls)
    layers: dict[bool, dict[str, nn.Module]] = {False: {}, True: {}}
    for training, graph in graphs.items():
        for node in list(graph.nodes):
            layer = layer_for(node, training, options)
            rewrite(node, module, layer, layers[training])
    own = {*module._parameters, *module._buffers}
    used = {str(n.target) for g in graphs.values() for n in g.nodes if n.op == "get_attr"}
    if used - own:
        raise NotInflatable(
            f"it calls {call} in a forward that uses tensors which are "
            "neither parameters nor buffers of its own: register them"
        )
    if str(graphs[False]) != str(graphs[True]):
        raise NotInflatable(
            f"it calls {call} in a forward that differs between training and "
            "evaluation: make the call a layer"
        )
    options.layers.extend(layers[False].values())
    return _as_module(module, graphs[False], layers[False])


def inflate_wrapped_conv(layer: nn.Conv2d, options: Options) -> nn.Module:
    """A convolution whose class puts child layers before it, one after the other.

    Args:
        layer: of a subclass of ``Conv2d``; its children have been inflated.
        options: see :func:`captum_video.nn.inflate`.

    Returns:
        The children under their names, then the convolution as ``conv``.

    Raises:
        NotInflatable: its forward does anything else.
    """
    reason = "its class has a forward of its own, and only layers before one conv2d can be kept"
    try:
        graphs = [_trace(layer, training) for training in (False, True)]
    except Exception as error:  # whatever the module's own code raises
        raise NotInflatable(f"{reason} ({_first_line(error)})") from error
    if str(graphs[0]) != str(graphs[1]):
        raise NotInflatable(f"{reason}, the same in training and evaluation")
    chain = [n for n in graphs[0].nodes if n.op != "get_attr"]
    before: OrderedDict[str, nn.Module] = OrderedDict()
    for value, node in itertools.pairwise(chain[:-2]):
        if node.op != "call_module" or node.args != (value,) or node.kwargs:
            raise NotInflatable(reason)
        before[str(node.target)] = layer.get_submodule(str(node.target))
    if len(chain) < 3 or chain[-1].args != (chain[-2],) or "conv" in before:
        raise NotInflatable(reason)
    if not _is_own_conv(chain[-2], chain[-3], layer):
        raise NotInflatable(reason)
    conv = inflate_any_conv(layer, options)
    if not before:
        return conv
    new = nn.Sequential(OrderedDict([*before.items(), ("conv", conv)]))
    new.training = layer.training
    return new


def _is_own_conv(node: fx.Node, value: fx.Node, layer: nn.Conv2d) -> bool:
    """Whether a node is the layer's own ``conv2d`` with the arguments that the layer states."""
    if call_name(node) != "conv2d":
        return False
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given: dict[str, Any] = dict(zip(names, node.args, strict=False)) | node.kwargs
    tensors = [given.get("weight"), given.get("bias")]
    sources = [getattr(tensor, "target", None) for tensor in tensors]
    own = ["weight", None if layer.bias is None else "bias"]
    plain = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    stated = all(
        _as_stated(given.get(name, default)) == _as_stated(getattr(layer, name))
        for name, default in plain.items()
    )
    return given.get("input") is value and sources == own and stated


def _as_stated(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _trace(module: nn.Module, training: bool, defaults: bool = False) -> fx.Graph:
    """What its forward does, or what it does if nothing but the input is given."""
    probe = copy.copy(module)  # forward may set attributes
    probe.training = training
    concrete = None
    if defaults:
        parameters = inspect.signature(module.forward).parameters.values()
        concrete = {p.name: p.default for p in parameters if p.default is not p.empty}
    with torch.random.fork_rng(devices=[]):
        return _OwnCalls().trace(probe, concrete)


def _search_untraced(module: nn.Module, error: Exception, options: Options) -> None:
    """Refuses a module that cannot be traced if 2D functions are called, or seem to be."""
    found = None
    try:
        for training in (False, True):
            graph = _trace(module, training, defaults=True)
            follow(graph, module, options.order)
            nodes = [node for node in graph.nodes if needs_rewrite(node, module)]
            found = found or (_first_call(nodes) if nodes else None)
    except NotInflatable:
        raise
    except Exception:  # whatever the module's own code raises
        forward = inspect.unwrap(type(module).forward)
        names = _names(forward, type(module), set()) if isinstance(forward, FunctionType) else ()
        pattern = re.compile(r"[a-z_ ]+2d|interpolate|pixel_shuffle|pixel_unshuffle|grid_sample")
        children = dict(module.named_children())
        found = next((n for n in names if pattern.fullmatch(n) and n not in children), None)
        if found is None:
            warnings.warn(
                f"inflate cannot trace the forward of {type(module).__name__} and searched it for 2D "
                "functions by name: where it names height or width by number, a clip has other axes, "
                "so compare the result with the 2D model on a clip of equal frames",
                stacklevel=2,
            )
    if found is not None:
        raise NotInflatable(
            f"it calls {found} in a forward that torch.fx cannot trace ({_first_line(error)}): "
            "make the call a layer"
        )


def _first_call(nodes: list[fx.Node]) -> str:
    return next(filter(None, map(call_name, nodes)), "an operation on a map of its own")


def _names(function: FunctionType, owner: type, seen: set[CodeType]) -> Iterator[str]:
    """The names that a function uses, also in its class's methods and its module's functions.

    Reductions only beside a constant that names height and width.
    """
    if function.__code__ in seen or function.__module__.startswith("torch."):
        return
    seen.add(function.__code__)
    spatial = _has_spatial_axes(function.__code__)
    for name in function.__code__.co_names:
        if name not in REDUCTIONS:
            yield name
        elif spatial:
            yield f"{name} over 2d"
        for place in (getattr(owner, name, None), function.__globals__.get(name)):
            if isinstance(place, FunctionType):
                yield from _names(place, owner, seen)


def _has_spatial_axes(code: CodeType) -> bool:
    """Whether code holds a tuple or list of the axes of height and width."""
    pairs = [const for const in code.co_consts if isinstance(const, tuple) and len(const) == 2]
    steps = list(dis.get_instructions(code))
    for one, two, last in zip(steps, steps[1:], steps[2:], strict=False):
        if last.opname == "BUILD_LIST" and last.arg == 2:
            pairs.append((one.argval, two.argval))
    return any(pair in ((2, 3), (3, 2), (-2, -1), (-1, -2)) for pair in pairs)


def _as_module(module: nn.Module, graph: fx.Graph, layers: dict[str, nn.Module]) -> nn.Module:
    """A module that runs the graph, with everything registered that the old one has."""
    for name, layer in layers.items():
        module.add_module(name, layer.train(module.training))
    new = fx.GraphModule(module, graph, type(module).__name__)
    new._modules = module._modules
    new._parameters = module._parameters
    new._buffers = module._buffers
    new._non_persistent_buffers_set = module._non_persistent_buffers_set
    return new


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
