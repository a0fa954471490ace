"""Recurrent layers one step at a time: whatever torch's fused operators do not do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError

__all__ = ["Activation", "Cell", "activations", "run_direction"]

Tensor = torch.Tensor
Activation = Callable[[Tensor], Tensor]

# The defaults of the ONNX operators of these names, where there are such; (alpha, beta).
_DEFAULTS: dict[str, tuple[float | None, float | None]] = {
    "relu": (None, None),
    "tanh": (None, None),
    "sigmoid": (None, None),
    "affine": (1.0, 0.0),
    "leakyrelu": (0.01, None),
    "thresholdedrelu": (1.0, None),
    "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, None),
    "softsign": (None, None),
    "softplus": (None, None),
}


def activations(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]
) -> list[Activation]:
    """The functions of these names. Each takes the next of `alphas` and `betas`, if it has such a
    parameter, and the default of the operator of its name when they are used up. Raises
    UnsupportedError for a name that the standard does not list."""
    alpha_left, beta_left = iter(alphas), iter(betas)
    found: list[Activation] = []
    for name in names:
        key = name.lower()
        if key not in _DEFAULTS:
            raise UnsupportedError(f"activation {name!r}")
        alpha, beta = _DEFAULTS[key]
        alpha = 0.0 if alpha is None else next(alpha_left, alpha)
        beta = 0.0 if beta is None else next(beta_left, beta)
        found.append(_activation(key, alpha, beta))
    return found


def _activation(key: str, alpha: float, beta: float) -> Activation:
    plain: dict[str, Activation] = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softsign": F.softsign,
        # Without torch's threshold, beyond which it is the identity.
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "affine": lambda x: x * alpha + beta,
        "leakyrelu": lambda x: F.leaky_relu(x, alpha),
        "thresholdedrelu": lambda x: torch.where(x >= alpha, x, 0),
        "scaledtanh": lambda x: torch.tanh(x * beta) * alpha,
        "hardsigmoid": lambda x: (x * alpha + beta).clamp(0, 1),
        "elu": lambda x: F.elu(x, alpha),
    }
    return plain[key]


@dataclasses.dataclass(frozen=True)
class Cell:
    """What every step of one direction does."""

    kind: str
    functions: Sequence[Activation]
    clip: float | None
    input_forget: bool
    linear_before_reset: bool


@dataclasses.dataclass(frozen=True)
class Weights:
    """One direction's weights in ONNX's order of gates; `b` is the input's and the recurrence's."""

    w: Tensor
    r: Tensor
    b: Tensor | None
    p: Tensor | None


def run_direction(
    cell: Cell,
    weights: Weights,
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
    backward: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All steps of x (time, batch, features): the hidden state after each (zeros beyond a
    sequence's length), the last hidden and the last cell state. Backward starts at a sequence's
    last element."""
    steps, batch = x.shape[:2]
    size = h.shape[-1]
    if backward:
        x = _turned(x, lengths)
    bias_w, bias_r = (weights.w.new_zeros(()),) * 2 if weights.b is None else weights.b.chunk(2)
    step = _STEPS[cell.kind](cell, weights, bias_w, bias_r)
    inputs = torch.matmul(x, weights.w.t())
    made: list[Tensor] = []
    for time in range(steps):
        new_h, new_c = step(inputs[time], h, c)
        if lengths is None:
            made.append(new_h)
        else:
            runs = (lengths > time)[:, None]
            made.append(torch.where(runs, new_h, 0))
            new_h = torch.where(runs, new_h, h)
            new_c = None if new_c is None or c is None else torch.where(runs, new_c, c)
        h, c = new_h, new_c
    y = torch.stack(made) if made else x.new_zeros((0, batch, size))
    return (_turned(y, lengths) if backward else y), h, c


def _turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence of (time, batch, features) the other way round; what is beyond its length
    stays."""
    if lengths is None:
        return x.flip(0)
    time = torch.arange(x.shape[0], device=x.device)[:, None]
    place = torch.where(time < lengths, lengths - 1 - time, time)
    return x.gather(0, place[:, :, None].expand_as(x))


Step = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


def _clipped(cell: Cell) -> Activation:
    clip = cell.clip
    if clip is None:
        return lambda x: x
    return lambda x: x.clamp(-clip, clip)


def _rnn(cell: Cell, weights: Weights, bias_w: Tensor, bias_r: Tensor) -> Step:
    r, bias, clip, f = weights.r.t(), bias_w + bias_r, _clipped(cell), cell.functions[0]

    def step(x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return f(clip(torch.addmm(x + bias, h, r))), None

    return step


def _gru(cell: Cell, weights: Weights, bias_w: Tensor, bias_r: Tensor) -> Step:
    f, g = cell.functions[:2]
    clip = _clipped(cell)
    size = weights.r.shape[1]
    r_gates, r_hidden = weights.r[: 2 * size].t(), weights.r[2 * size :].t()
    shaped_w = bias_w.expand(3 * size)
    shaped_r = bias_r.expand(3 * size)
    bias = torch.cat([shaped_w[: 2 * size] + shaped_r[: 2 * size], shaped_w[2 * size :]])
    bias_hidden = shaped_r[2 * size :]

    def step(x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = x + bias
        gates = f(clip(torch.addmm(x[:, : 2 * size], h, r_gates)))
        z, r = gates[:, :size], gates[:, size:]
        if cell.linear_before_reset:
            hidden = r * torch.addmm(bias_hidden, h, r_hidden)
        else:
            hidden = torch.addmm(bias_hidden, r * h, r_hidden)
        n = g(clip(x[:, 2 * size :] + hidden))
        return (1 - z) * n + z * h, None

    return step


def _lstm(cell: Cell, weights: Weights, bias_w: Tensor, bias_r: Tensor) -> Step:
    f, g, last = cell.functions[:3]
    clip = _clipped(cell)
    r, bias, p = weights.r.t(), bias_w + bias_r, weights.p
    p_i, p_o, p_f = (None, None, None) if p is None else p.chunk(3)

    def peep(gate: Tensor, factor: Tensor | None, c: Tensor) -> Tensor:
        return clip(gate if factor is None else gate + factor * c)

    def step(x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if c is None:
            c = torch.zeros_like(h)
        i, o, forget, n = torch.addmm(x + bias, h, r).chunk(4, dim=1)
        i = f(peep(i, p_i, c))
        forget = 1 - i if cell.input_forget else f(peep(forget, p_f, c))
        c = forget * c + i * g(clip(n))
        o = f(peep(o, p_o, c))
        return o * last(c), c  # not clipped: neither onnxruntime nor OpenVINO does

    return step


_STEPS: dict[str, Callable[[Cell, Weights, Tensor, Tensor], Step]] = {
    "RNN": _rnn,
    "GRU": _gru,
    "LSTM": _lstm,
}
