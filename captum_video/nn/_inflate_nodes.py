"""Single calls of a traced forward: which know of two dimensions, and what replaces them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from captum_video.nn._inflate_axes import with_time
from captum_video.nn._inflate_layers import LAYERS
from captum_video.nn._inflate_options import NotInflatable, Options

#: what follows the input in a function's arguments; the layer of that function takes the same
ARGUMENTS = {
    "avg_pool2d": "kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "max_pool2d": "kernel_size stride padding dilation ceil_mode return_indices",
    "adaptive_avg_pool2d": "output_size",
    "adaptive_max_pool2d": "output_size return_indices",
    "interpolate": "size scale_factor mode align_corners recompute_scale_factor antialias",
    "pad": "pad mode value",
    "dropout": "p training inplace",
    "dropout2d": "p training inplace",
}
_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "avg_pool2d": nn.AvgPool2d,
    "max_pool2d": nn.MaxPool2d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
    "interpolate": nn.Upsample,
    "dropout": nn.Dropout,
    "dropout2d": nn.Dropout2d,
}
_PADS: dict[str, Callable[..., nn.Module]] = {
    "replicate": nn.ReplicationPad2d,
    "reflect": nn.ReflectionPad2d,
    "circular": nn.CircularPad2d,
}
REFUSED = ("pixel_shuffle", "pixel_unshuffle", "unfold", "fold", "grid_sample", "affine_grid")
AVERAGES = ("mean", "amax", "amin")
REDUCTIONS = ("mean", "sum", "amax", "amin", "std", "var", "logsumexp")
#: channels last and back
PERMUTATIONS = {(0, 2, 3, 1): (0, 2, 3, 4, 1), (0, 3, 1, 2): (0, 4, 1, 2, 3)}


def call_name(node: fx.Node) -> str:
    """The function's or the method's name; empty for what is no call."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def needs_rewrite(node: fx.Node, module: nn.Module) -> bool:
    """Whether a node would do something else, or fail, on a clip.

    Args:
        node: of the module's traced forward.
        module: the module.

    Returns:
        True for 2D functions, sizes with four entries, dimensions that name the width and tensors of
        the module with the shape of a map.
    """
    name = call_name(node)
    if node.op == "get_attr":
        return is_map(module, str(node.target))
    if name in ARGUMENTS:
        return name != "dropout"
    if name in REFUSED or name.endswith("2d") or "2d_" in name:
        return True
    if name in ("view", "reshape", "expand", "repeat", "permute"):
        return len(sizes(node)) >= 4
    if timeless(node) and not (name == "getitem" and indexes_map(node)) and name != "unsqueeze":
        return False
    if name in AVERAGES:
        return _names_width(_dims(node))
    if name == "flatten":
        end = node.args[2] if len(node.args) > 2 else node.kwargs.get("end_dim", -1)
        return bool(end != -1)
    if name == "size":
        return any(isinstance(d, int) and d >= 2 for d in node.args[1:])
    if name == "unsqueeze":
        return adds_width(node)
    if name == "getitem":
        return _reads_size(node) or indexes_map(node) or _crops(node)
    return False


def timeless(node: fx.Node) -> bool:
    """Whether what a call is given is known to have the same axes on a clip."""
    axes = node.meta.get("source")
    return axes is not None and axes.sure and axes.time is None


def layer_for(node: fx.Node, training: bool, options: Options) -> nn.Module | None:
    """The 3D layer that replaces a function.

    Args:
        node: of a traced forward.
        training: whether it was traced in training mode.
        options: see :func:`captum_video.nn.inflate`.

    Returns:
        The layer, or None if the node is no function that a layer stands for.

    Raises:
        NotInflatable: its arguments depend on the input, or the layer has no counterpart.
    """
    name = call_name(node)
    if name not in ARGUMENTS:
        return None
    names = ("input", *ARGUMENTS[name].split())
    given: dict[str, Any] = dict(zip(names, node.args, strict=False)) | node.kwargs
    given.pop("input", None)
    if any(isinstance(value, fx.Node) for value in leaves(given)):
        raise NotInflatable(f"it calls {name} with arguments that depend on the input")
    if name in ("dropout", "dropout2d") and given.pop("training", True) is not training:
        if name == "dropout":
            return None
        raise NotInflatable("it calls dropout2d in evaluation mode too: make the call a layer")
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    if given.pop("antialias", False):
        raise NotInflatable("it calls interpolate with antialias, which is for images alone")
    try:
        flat = _pad_layer(**given) if name == "pad" else _LAYERS[name](**given)
        convert = LAYERS.get(type(flat))
        return flat if convert is None else convert(flat, options)
    except NotInflatable as error:
        raise NotInflatable(f"it calls {name}: {error}") from error


def rewrite(
    node: fx.Node, module: nn.Module, layer: nn.Module | None, layers: dict[str, nn.Module]
) -> None:
    """Replaces a node of a traced forward in place.

    Args:
        node: the node; left alone if it does the same on a clip.
        module: the module whose forward it is.
        layer: what :func:`layer_for` gave.
        layers: gets the layer, by the name under which the node calls it.

    Raises:
        NotInflatable: it has no counterpart.
    """
    name, graph = call_name(node), node.graph
    if layer is not None:
        target = f"{name}_{len(layers)}"
        while hasattr(module, target):
            target += "_"
        layers[target] = layer
        source = node.args[0] if node.args else node.kwargs["input"]
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.call_module(target, (source,)))
        graph.erase_node(node)
    elif not needs_rewrite(node, module):
        return
    elif node.op == "get_attr":
        _after(node, -3)
    elif name == "unsqueeze":
        _after(node, -1)
    elif name == "getitem" and indexes_map(node):
        node.args = (node.args[0], (*node.args[1], None))  # type: ignore[misc]
    elif name == "getitem" and not node.users:
        graph.erase_node(node)  # a, b, _, _ = x.shape
    elif (changed := _more_dimensions(node)) is not None:
        node.args, node.kwargs = changed
    else:
        raise NotInflatable(f"it calls {name} {why(name)}")


def _more_dimensions(node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments with one more dimension; None where it cannot be said which."""
    name, given = call_name(node), sizes(node)
    if name in ("view", "reshape") and len(given) == 4 and given[2:] == (1, 1):
        return (node.args[0], (*given, 1)), {}
    if name == "permute" and given in PERMUTATIONS:
        return (node.args[0], PERMUTATIONS[given]), {}
    if name in AVERAGES:
        dims = _dims(node)
        if not ({2, 3} <= set(dims) or {-1, -2} <= set(dims)):
            return None
        dims = with_time(list(dims))
        kwargs = {key: value for key, value in node.kwargs.items() if key not in ("dim", "axis")}
        if len(node.args) > 1:
            return (node.args[0], dims, *node.args[2:]), kwargs
        return node.args, {**kwargs, "dim": dims}
    return None


def why(name: str) -> str:
    """What a refusal says after the name of the call."""
    if name.startswith("conv"):
        return "with weights that are not those of a layer: make it one"
    if name in ("getitem", "size"):
        return "to read the size of a frame or a part of it"
    return "in a way that holds for frames alone, not for clips"


def _after(node: fx.Node, dim: int) -> None:
    """Adds one dimension to what a node gives."""
    users = list(node.users)
    with node.graph.inserting_after(node):
        wider = node.graph.call_method("unsqueeze", (node, dim))
    for user in users:
        user.replace_input_with(node, wider)


def _pad_layer(pad: Any, mode: str = "constant", value: float | None = None) -> nn.Module:
    if len(pad) > 4:
        raise NotInflatable("it pads more than height and width")
    sides = (*pad, *(0,) * (4 - len(pad)))
    return nn.ConstantPad2d(sides, value or 0.0) if mode == "constant" else _PADS[mode](sides)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def is_map(module: nn.Module, target: str) -> bool:
    """Whether a parameter or buffer of the module spans channels, height and width."""
    tensors: dict[str, Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if target not in tensors:
        return False
    tensor = tensors[target]
    return tensor.dim() == 4 or (tensor.dim() == 3 and tuple(tensor.shape[1:]) == (1, 1))


def sizes(node: fx.Node) -> tuple[Any, ...]:
    """What a method such as ``view`` was given, one by one or as a sequence."""
    given = (*node.args[1:], *node.kwargs.values())
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], list | tuple) else given


def _dims(node: fx.Node) -> tuple[int, ...]:
    """The dimensions of a reduction; those that are given by number."""
    given = node.kwargs.get("dim", node.kwargs.get("axis", None))
    if given is None and len(node.args) > 1:
        given = node.args[1]
    dims = given if isinstance(given, list | tuple) else (given,)
    return tuple(d for d in dims if isinstance(d, int) and not isinstance(d, bool))


def _names_width(dims: tuple[int, ...]) -> bool:
    return 3 in dims or -3 in dims or {-1, -2} <= set(dims)


def adds_width(node: fx.Node) -> bool:
    """Whether it is the second of two that make a map of size one by one."""
    if node.args[1:] == (3,):
        return True
    source = node.args[0]
    inner = isinstance(source, fx.Node) and call_name(source) == "unsqueeze"
    return node.args[1:] == (-1,) and inner and source.args[1] in (-1, 2)  # type: ignore


def _reads_size(node: fx.Node) -> bool:
    """Whether it takes height, width or both from a shape."""
    source, index = node.args
    if not isinstance(source, fx.Node):
        return False
    shape = call_name(source) == "size" and len(source.args) == 1
    attribute = call_name(source) == "getattr" and source.args[1:] == ("shape",)
    return (shape or attribute) and isinstance(index, int) and index >= 2


def _crops(node: fx.Node) -> bool:
    """Whether it takes a part of height or width, ``[:, :, 1:, 1:]``."""
    index = node.args[1]
    if not isinstance(index, tuple) or Ellipsis in index:
        return False
    return any(part != slice(None) for part in index[2:])


def indexes_map(node: fx.Node) -> bool:
    """Whether it makes a map of size one by one, ``[:, :, None, None]``."""
    index = node.args[1]
    return isinstance(index, tuple) and len(index) == 4 and index[2:] == (None, None)
