"""Which torch functions are followed, by name."""

from __future__ import annotations

from captum_video.layers.call import Call, Rule
from captum_video.layers.combine import elementwise
from captum_video.layers.layout import Layout
from captum_video.layers.rules import indexing, products, reductions, shapes, spatial

IGNORED = frozenset(
    """
allclose backward data_ptr dense_dim detach_ device dim dtype element_size equal get_device grad
grad_fn has_names is_complex is_contiguous is_cpu is_cuda is_floating_point is_inference is_leaf
is_meta is_mkldnn is_mps is_nested is_nonzero is_pinned is_quantized is_same_size is_set_to is_signed
is_sparse is_vulkan is_xla is_xpu item itemsize layout len name names nbytes ndim ndimension nelement
numel numpy output_nr record_stream register_hook requires_grad requires_grad_ retain_grad
retains_grad set_ shape size storage storage_offset stride tolist untyped_storage volatile
zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones
new_empty new_full new_tensor repr str format hash index contains is_coalesced
_base _version _is_view result_type can_cast get_default_dtype is_tensor broadcast_shapes
""".split()
)
"""Functions whose results do not depend on the values of the entries, or are no tensors."""

_POINTWISE = """
abs absolute acos acosh add addcdiv addcmul and angle arccos arccosh arcsin arcsinh arctan arctan2
arctanh asin asinh atan atan2 atanh bernoulli bfloat16 bitwise_and bitwise_not bitwise_or bitwise_xor
bool byte ceil celu clamp clamp_max clamp_min clip clone complex conj contiguous copysign cos cosh
cpu cuda deg2rad detach data digamma div divide double dropout dropout1d dropout2d dropout3d
alpha_dropout feature_alpha_dropout feature_dropout elu eq erf erfc erfinv exp exp2 expm1 fill fix
float float_power floor floor_divide floordiv fmax fmin fmod frac gelu ge greater greater_equal
gt half hardshrink hardsigmoid hardswish hardtanh heaviside hypot iadd imul int invert isclose
isfinite isinf isnan isub itruediv lerp less less_equal le leaky_relu lgamma log log10 log1p log2
logaddexp logical_and logical_not logical_or logical_xor logit logsigmoid log_sigmoid long lt
masked_fill maximum minimum mish mod mul multiply nan_to_num ne neg negative nextafter not_equal or
pos positive pow prelu radd rad2deg rdiv real reciprocal relu relu6 remainder resolve_conj
resolve_neg rmul round rpow rrelu rsqrt rsub rtruediv selu sgn short sigmoid sign sin sinc sinh silu
softplus softshrink softsign sqrt square sub subtract tan tanh tanhshrink threshold _threshold to
tril triu true_divide truediv trunc type type_as where xor zero alias
""".split()

LIKES = frozenset("to type_as expand_as view_as reshape_as".split())
"""Functions that take no more than type or shape of their further tensors."""


def _pointwise(call: Call) -> Layout:
    return elementwise(call.shape, call.layouts)


def _overwritten(call: Call) -> Layout:
    """``copy_``: the layout of the value, broadcast."""
    value = call.layout(call.get(1, "src"))
    if value is None:
        return call.main
    return elementwise(call.shape, [value])


def find(name: str) -> Rule | None:
    """The rule for a function.

    Args:
        name: its canonical name; in-place methods have their plain method's rule.

    Returns:
        The rule, or None if there is none.
    """
    rule = _TABLE.get(name)
    if rule is None and name.endswith("_") and not name.endswith("__"):
        rule = _TABLE.get(name[:-1])
    return rule


_TABLE: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(
        "flatten ravel reshape reshape_as unflatten view view_as _unsafe_view".split(),
        shapes.reshape,
    ),
    **dict.fromkeys("transpose swapaxes swapdims".split(), shapes.transpose),
    **dict.fromkeys("t mT adjoint mH".split(), shapes.swap_last),
    **dict.fromkeys("T H".split(), shapes.reverse_axes),
    **dict.fromkeys("movedim moveaxis".split(), shapes.movedim),
    **dict.fromkeys("expand expand_as broadcast_to".split(), shapes.expand),
    **dict.fromkeys("repeat tile".split(), shapes.repeat),
    **dict.fromkeys(
        "split split_with_sizes chunk tensor_split unsafe_chunk unsafe_split".split(),
        shapes.pieces,
    ),
    **dict.fromkeys("flip fliplr flipud reversed".split(), shapes.flip),
    **dict.fromkeys("cat concat concatenate".split(), shapes.cat),
    **dict.fromkeys(
        """
        all amax amin any argmax argmin count_nonzero logsumexp mean median mode nanmean nanmedian
        nansum prod std std_mean sum var var_mean
        """.split(),
        reductions.reduction,
    ),
    **dict.fromkeys("max min".split(), reductions.extremum),
    **dict.fromkeys(
        "softmax log_softmax softmin cumsum cumprod cummax cummin logcumsumexp".split(),
        reductions.along_axis,
    ),
    **dict.fromkeys("sort argsort topk".split(), reductions.ordering),
    **dict.fromkeys("gumbel_softmax group_norm local_response_norm".split(), reductions.everywhere),
    **dict.fromkeys("layer_norm rms_norm".split(), reductions.layer_norm),
    **dict.fromkeys("matmul rmatmul mm bmm mv".split(), products.matmul),
    **dict.fromkeys("addmm baddbmm addmv".split(), products.added_product),
    **dict.fromkeys("lstm gru rnn_tanh rnn_relu".split(), products.recurrence),
    **dict.fromkeys("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell".split(), products.cell),
    **dict.fromkeys("interpolate upsample".split(), spatial.interpolate),
    "permute": shapes.permute,
    "squeeze": shapes.squeeze,
    "unsqueeze": shapes.unsqueeze,
    "repeat_interleave": shapes.repeat_interleave,
    "unbind": shapes.unbind,
    "select": shapes.select,
    "narrow": shapes.narrow,
    "index_select": shapes.index_select,
    "roll": shapes.roll,
    "stack": shapes.stack,
    "pixel_shuffle": shapes.pixel_shuffle,
    "norm": reductions.norm,
    "normalize": reductions.normalize,
    "instance_norm": reductions.instance_norm,
    "batch_norm": reductions.batch_norm,
    "glu": reductions.gated,
    "linear": products.linear,
    "einsum": products.einsum,
    "scaled_dot_product_attention": products.attention,
    "multi_head_attention_forward": products.multi_head_attention,
    "pad": spatial.pad,
    "unfold": spatial.windows,
    "diff": spatial.difference,
    "grid_sample": spatial.sampled,
    "getitem": indexing.getitem,
    "setitem": indexing.setitem,
    "copy_": _overwritten,
}
for _axes in (1, 2, 3):
    _TABLE[f"conv{_axes}d"] = spatial.convolution
    _TABLE[f"conv_transpose{_axes}d"] = spatial.transposed_convolution
    for _end in ("", "_with_indices"):
        _TABLE[f"max_pool{_axes}d{_end}"] = spatial.pool
        _TABLE[f"adaptive_max_pool{_axes}d{_end}"] = spatial.adaptive_pool
    _TABLE[f"avg_pool{_axes}d"] = _TABLE[f"lp_pool{_axes}d"] = spatial.pool
    _TABLE[f"adaptive_avg_pool{_axes}d"] = spatial.adaptive_pool
