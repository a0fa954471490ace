"""RNN, GRU and LSTM: torch's fused operators where they do the same, else step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._packed_lstm import PackedLstm
from hal_torch.kernels._steps import Cell, Weights, activations, run_direction
from hal_torch.kernels._window import widened

__all__ = ["table"]

Tensor = torch.Tensor
Kernel = Callable[..., Any]
table = KernelTable()

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULT = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}
# torch's order of gates, by ONNX's: r z n of z r h, and i f g o of i o f c.
_ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
_DIRECTIONS = {
    "forward": (False,),
    "foward": (False,),  # GRU-1's default, as the standard spells it
    "reverse": (True,),
    "bidirectional": (False, True),
}
_ATTRIBUTES = (
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "layout",
    "output_sequence",
)


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A node's attributes, checked."""

    kind: str
    backward: tuple[bool, ...]
    cells: tuple[Cell, ...]
    fused: Callable[..., Any] | None
    """torch's operator, if it computes these cells."""
    batch_first: bool

    @classmethod
    def of(cls, node: NodeInfo) -> _Layer:
        """Raises UnsupportedError for attributes that the standard does not know."""
        kind, given = node.op_type, node.attributes
        direction = given["direction"].lower()
        if direction not in _DIRECTIONS:
            raise UnsupportedError(f"direction is {direction!r}")
        backward = _DIRECTIONS[direction]
        each = len(_DEFAULT[kind])
        # The standard's own default for RNN names two, whatever the direction.
        names = tuple(given.get("activations") or ()) or _DEFAULT[kind] * len(backward)
        if len(names) < each * len(backward):
            raise UnsupportedError(f"{each * len(backward)} activations expected, got {len(names)}")
        names = names[: each * len(backward)]
        functions = activations(
            names, given.get("activation_alpha") or (), given.get("activation_beta") or ()
        )
        clip = given.get("clip")
        linear = bool(given.get("linear_before_reset", 0))
        coupled = bool(given.get("input_forget", 0))
        cells = tuple(
            Cell(kind, functions[at : at + each], clip, coupled, linear)
            for at in range(0, len(functions), each)
        )
        fused = None
        if not clip and not coupled:
            fused = _fused(kind, [name.lower() for name in names], linear)
        return cls(kind, backward, cells, fused, bool(given.get("layout", 0)))


def _fused(kind: str, names: Sequence[str], linear: bool) -> Callable[..., Any] | None:
    expected = [name.lower() for name in _DEFAULT[kind]]
    is_default = list(names) == expected * (len(names) // len(expected))
    if kind == "RNN":
        if is_default:
            return torch.rnn_tanh
        return torch.rnn_relu if set(names) == {"relu"} else None
    if not is_default:
        return None
    if kind == "LSTM":
        return torch.lstm
    return torch.gru if linear else None


@table.specialized("RNN", 1, 7, 14, 22, host=(4,), attributes=_ATTRIBUTES)
@table.specialized(
    "GRU", 1, 3, 7, 14, 22, host=(4,), attributes=(*_ATTRIBUTES, "linear_before_reset")
)
@table.specialized("LSTM", 1, 7, 14, 22, host=(4,), attributes=(*_ATTRIBUTES, "input_forget"))
def recurrent(node: NodeInfo) -> Kernel:
    """float16 and bfloat16 are computed in float32, and rounded once. The oldest versions ask for
    all steps by output_sequence; here they are there anyway."""
    layer = _Layer.of(node)
    fused = layer.fused
    given = (*node.constants, *(None,) * 8)
    absent = (*(not type_ for type_ in node.input_types), *(True,) * 8)
    ready = all(given[i] is not None or absent[i] for i in (1, 2, 3))
    constant = None
    if fused is not None and ready:
        constant = _fused_weights(layer, *given[1:4], constant=True)
    packed = None
    if constant is not None and layer.kind == "LSTM" and PackedLstm.takes(constant):
        packed, constant = PackedLstm(constant, layer.backward), None

    def run(
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        sequence_lens: Any = None,
        initial_h: Tensor | None = None,
        initial_c: Tensor | None = None,
        p: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        nonlocal fused
        dtype = x.dtype
        x = widened(x)
        if layer.batch_first:
            x = x.transpose(0, 1)
        if x.shape[-1] != w.shape[-1]:  # oneDNN's kernels would read beyond the weights
            raise ValueError(f"X has {x.shape[-1]} features, W takes {w.shape[-1]}")
        h = _initial(initial_h, layer, x, r.shape[-1])
        c = _initial(initial_c, layer, x, r.shape[-1]) if layer.kind == "LSTM" else None
        lengths = _lengths(sequence_lens, x)
        made: tuple[Tensor, Tensor, Tensor | None] | None = None
        plain = lengths is None and p is None and x.numel()
        # A trace makes layouts of its own, and a gradient goes through no layout.
        own = type(x) is Tensor and not torch.is_grad_enabled()
        if plain and packed is not None and c is not None and own:
            made = packed(x, h, c)
        elif plain and fused is not None:
            weights = constant or (packed and packed.weights) or _fused_weights(layer, w, r, b)
            try:
                made = _run_fused(layer, fused, weights, x, h, c)
            except NotImplementedError:  # an out-of-tree device without torch's fused cells
                fused = None
        y, h, c = made or _run_steps(layer, (w, r, b, p), x, h, c, lengths)
        if layer.batch_first:
            y = y.permute(2, 0, 1, 3)
            h = h.transpose(0, 1)
            c = None if c is None else c.transpose(0, 1)
        outputs = (y, h) if c is None else (y, h, c)
        return tuple(o.to(dtype) for o in outputs)

    return run


def _initial(given: Tensor | None, layer: _Layer, x: Tensor, size: int) -> Tensor:
    """A state before the first step: (directions, batch, hidden)."""
    shape = (len(layer.backward), x.shape[1], size)
    if given is None:
        return x.new_zeros(shape)
    given = widened(given)
    given = given.transpose(0, 1).contiguous() if layer.batch_first else given
    if given.shape != shape:  # which torch's packed cells do not look at
        raise ValueError(f"an initial state of shape {tuple(given.shape)}, expected {shape}")
    return given


def _lengths(given: Any, x: Tensor) -> Tensor | None:
    """Sequence lengths on the device; None where every sequence has all steps."""
    if given is None or bool(np.all(np.asarray(given) >= x.shape[0])):
        return None
    return torch.from_numpy(np.asarray(given, dtype=np.int64)).to(x.device)


def _fused_weights(
    layer: _Layer, w: Tensor, r: Tensor, b: Tensor | None, *, constant: bool = False
) -> tuple[list[Tensor], bool]:
    """The weights in torch's order, and whether there are biases. `constant`: they have no
    gradient."""
    order = _ORDER[layer.kind]
    join = _joined if constant and w.is_cpu else torch.cat

    def arranged(t: Tensor) -> Tensor:
        parts = widened(t).chunk(len(order))
        return join([parts[i] for i in order]) if len(order) > 1 else parts[0]

    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for direction in range(len(layer.backward)):
        weights += [arranged(w[direction]), arranged(r[direction])]
        if b is not None:
            biases += [arranged(half) for half in b[direction].chunk(2)]
    shaped = weights + biases
    if not w.is_cpu:
        # One chunk of memory, weights before biases, as cuDNN wants it.
        flat = torch.cat([t.reshape(-1) for t in shaped])
        parts = torch.split_with_sizes(flat, [t.numel() for t in shaped])
        shaped = [part.reshape(t.shape) for part, t in zip(parts, shaped, strict=True)]
    if b is None:
        return shaped, False
    count = len(weights)
    return [
        t
        for i in range(0, count, 2)
        for t in (*shaped[i : i + 2], *shaped[count + i : count + i + 2])
    ], True


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """torch.cat by NumPy: torch's threads would mostly be woken and waited for."""
    return torch.from_numpy(np.concatenate([part.numpy() for part in parts]))


def _run_fused(
    layer: _Layer,
    fused: Callable[..., Any],
    weights: tuple[list[Tensor], bool],
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """By torch, which has forward and both directions; backward alone is forward of the turned."""
    parameters, has_biases = weights
    only_backward = layer.backward == (True,)
    if only_backward:
        x = x.flip(0)
    state = h if c is None else (h, c)
    both = len(layer.backward) > 1
    made = fused(x, state, parameters, has_biases, 1, 0.0, False, both, False)
    y = made[0].reshape(*x.shape[:2], len(layer.backward), -1).transpose(1, 2)
    if only_backward:
        y = y.flip(0)
    return y, made[1], None if c is None else made[2]


def _run_steps(
    layer: _Layer,
    given: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    ys: list[Tensor] = []
    hidden: list[Tensor] = []
    cells: list[Tensor] = []
    w, r, b, p = given
    for i, (cell, backward) in enumerate(zip(layer.cells, layer.backward, strict=True)):
        weights = Weights(
            widened(w[i]),
            widened(r[i]),
            None if b is None else widened(b[i]),
            None if p is None else widened(p[i]),
        )
        y, last, last_cell = run_direction(
            cell, weights, x, h[i], None if c is None else c[i], lengths, backward
        )
        ys.append(y)
        hidden.append(last)
        if last_cell is not None:
            cells.append(last_cell)
    return torch.stack(ys, dim=1), torch.stack(hidden), torch.stack(cells) if cells else None
