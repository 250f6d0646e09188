"""Contractions, attention and recurrence."""

from __future__ import annotations

from typing import Any

from captum_video.layers.axes import Unreadable
from captum_video.layers.call import Call, replaced, tensors
from captum_video.layers.combine import Operand, broadcast, combine
from captum_video.layers.layout import Layout, blank, mixed_axis


def linear(call: Call) -> Layout:
    """``linear``: the last axis is summed over."""
    layout, shape = call.main, call.shape
    if len(call.tracked) != 1:
        raise Unreadable
    rank = len(layout.axes)
    places = (*range(rank - 1), None) if len(shape) == rank else ()
    return combine(shape, [Operand(layout, places)])


def _matrix_operand(layout: Layout, rank: int, row: int | None, column: int | None) -> Operand:
    """An operand of a matrix product.

    Args:
        layout: the operand's.
        rank: of the result with both matrix axes.
        row: which of the operand's axes is the result's last but one.
        column: which is its last.

    Returns:
        The operand; its other axes are aligned to the right before the matrix axes.
    """
    batch = len(layout.axes) - 2
    lead = tuple(i - (rank - 2) + batch if i >= rank - 2 - batch else None for i in range(rank - 2))
    return Operand(layout, (*lead, row, column))


def matmul(call: Call) -> Layout:
    """``matmul``, ``mm``, ``bmm``, ``mv`` and the operator ``@``."""
    a, b = call.input, call.get(1, "other", call.kwargs.get("mat2", call.kwargs.get("vec")))
    if call.name == "rmatmul":
        a, b = b, a
    return _product(call.shape, a, b, call)


def _product(shape: tuple[int, ...], a: Any, b: Any, call: Call) -> Layout:
    """The product of two tensors; vectors count as matrices of one row or column."""
    full = list(shape)
    if b.dim() == 1:
        full.append(1)
    if a.dim() == 1:
        full.insert(len(full) - 1, 1)
    operands = []
    left, right = call.layout(a), call.layout(b)
    if left is not None:
        if a.dim() == 1:
            left = Layout((blank(1), *left.axes), left.hidden, left.opaque)
        operands.append(_matrix_operand(left, len(full), len(left.axes) - 2, None))
    if right is not None:
        if b.dim() == 1:
            right = Layout((*right.axes, blank(1)), right.hidden, right.opaque)
        operands.append(_matrix_operand(right, len(full), None, len(right.axes) - 1))
    layout = combine(full, operands)
    axes = list(layout.axes)
    if a.dim() == 1:
        del axes[-2]
    if b.dim() == 1:
        del axes[-1]
    return Layout(tuple(axes), layout.hidden, layout.opaque)


def added_product(call: Call) -> Layout:
    """``addmm``, ``baddbmm``, ``addmv``: a tensor plus a product."""
    shape = call.shape
    plus, a, b = call.args[:3]
    operands = []
    if call.layout(a) is not None or call.layout(b) is not None:
        operands.append(broadcast(_product(shape, a, b, call), len(shape)))
    if (layout := call.layout(plus)) is not None:
        operands.append(broadcast(layout, len(shape)))
    return combine(shape, operands)


def einsum(call: Call) -> Layout:
    """``einsum`` with an equation."""
    equation, operands = call.args[0], list(call.args[1:])
    if not isinstance(equation, str):
        raise Unreadable
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    inputs, arrow, output = equation.replace(" ", "").replace("...", ".").partition("->")
    terms = inputs.split(",")
    shape = call.shape
    if not arrow:
        letters = sorted(set(inputs) - {",", "."})
        output = ("." if "." in inputs else "") + "".join(
            letter for letter in letters if inputs.count(letter) == 1
        )
    dots = len(shape) - len(output.replace(".", ""))
    wanted = _letters(output, dots, dots)
    found = []
    for term, tensor in zip(terms, operands, strict=True):
        layout = call.layout(tensor)
        if layout is not None:
            own = _letters(term, tensor.dim() - len(term.replace(".", "")), dots)
            places = tuple(own.index(letter) if letter in own else None for letter in wanted)
            found.append(Operand(layout, places))
    return combine(shape, found)


def _letters(term: str, dots: int, most: int) -> list[str]:
    """The axes of one term; those of an ellipsis are numbered from the right."""
    letters: list[str] = []
    for letter in term:
        letters.extend(str(most - dots + i) for i in range(dots)) if letter == "." else (
            letters.append(letter)
        )
    return letters


def attention(call: Call) -> Layout:
    """``scaled_dot_product_attention``: every slice of the query's axis sees all of the others."""
    shape = call.shape
    operands = []
    for position, name in enumerate(("query", "key", "value")):
        layout = call.layout(call.get(position, name))
        if layout is not None:
            rank = len(layout.axes)
            row = rank - 2 if name == "query" else None
            column = rank - 1 if name == "value" else None
            operands.append(_matrix_operand(layout, len(shape), row, column))
    return combine(shape, operands)


def multi_head_attention(call: Call) -> list[Layout]:
    """``multi_head_attention_forward``: ``(L, N, C)`` or ``(L, C)``, and the weights, if any."""
    query, key, value = (call.get(i, name) for i, name in enumerate(("query", "key", "value")))
    results = tensors(call.result)
    layouts = [call.layout(tensor) for tensor in (query, key, value)]
    batch: tuple[int | None, ...] = (1,) if query.dim() == 3 else ()
    places = [(0, *batch, None), (None, *batch, None), (None, *batch, None)]
    found = [_known(tuple(results[0].shape), layouts, places)]
    for weights in results[1:]:
        lead = (*batch, *(None,) * (weights.dim() - 2 - len(batch)))
        places = [(*lead, 0, None), (*lead, None, 0)]
        found.append(_known(tuple(weights.shape), layouts[:2], places))
    return found


def _known(
    shape: tuple[int, ...],
    layouts: list[Layout | None],
    places: list[tuple[int | None, ...]],
) -> Layout:
    """The combination of those operands that descend from an input."""
    operands = [
        Operand(layout, where)
        for layout, where in zip(layouts, places, strict=True)
        if layout is not None
    ]
    if not operands:
        raise Unreadable
    return combine(shape, operands)


def recurrence(call: Call) -> list[Layout]:
    """``lstm``, ``gru``, ``rnn_tanh`` and ``rnn_relu``: the time axis stays and is mixed."""
    if len(call.main.axes) != 3:
        raise Unreadable
    time = 1 if call.get(8, "batch_first") else 0
    batch = 1 - time
    output, *states = tensors(call.result)
    initial = [call.layout(tensor) for tensor in tensors(call.get(1, "hx"))]
    starts = [layout for layout in initial if layout is not None]
    if len(starts) + 1 != len(call.tracked):
        raise Unreadable
    lead: tuple[int | None, ...] = (None, 1) if time == 0 else (1, None)
    mine = combine(
        output.shape,
        [Operand(call.main, (0, 1, None)), *(Operand(state, (*lead, None)) for state in starts)],
    )
    found = [replaced(mine, {time: mixed_axis(mine.axes[time])})]
    for state in states:
        operands = [Operand(start, (None, 1, None)) for start in starts]
        found.append(combine(state.shape, [Operand(call.main, (None, batch, None)), *operands]))
    return found


def cell(call: Call) -> list[Layout]:
    """``lstm_cell``, ``gru_cell`` and ``rnn_*_cell``: rows stay rows."""
    results = tensors(call.result)
    shape = tuple(results[0].shape)
    rank = len(shape)
    operands = [
        Operand(layout, (*range(rank - 1), None))
        for tensor, layout in zip(call.tracked, call.layouts, strict=True)
        if tensor.dim() == rank and len(layout.axes) == rank
    ]
    if len(operands) != len(call.tracked):
        raise Unreadable
    return [combine(shape, operands)] * len(results)
