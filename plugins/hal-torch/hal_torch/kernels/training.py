"""ai.onnx.preview.training: gradients, and one step of an optimizer over any number of tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch

from hal.kernels import KernelTable

__all__ = ["table"]

table = KernelTable()
DOMAIN = "ai.onnx.preview.training"
Tensor = torch.Tensor
# The standard's defaults 1e-6, 0.9 and 0.999, as float32, which attributes are.
_EPSILON, _ALPHA, _BETA = 9.999999974752427e-07, 0.8999999761581421, 0.9990000128746033


def _each(
    step: Callable[..., tuple[Tensor, ...]], given: tuple[Tensor, ...], kinds: int
) -> tuple[Tensor, ...]:
    """`step` over tensor i of each of the `kinds` equal groups; outputs grouped the same way."""
    count = len(given) // kinds
    if count * kinds != len(given):
        raise ValueError(f"{len(given)} tensors are not {kinds} groups of one length")
    steps = [step(*given[i::count]) for i in range(count)]
    return tuple(made for group in zip(*steps, strict=True) for made in group)


def _as_precise_as(r: Tensor, given: tuple[Tensor, ...]) -> Tensor:
    """The learning rate, in double where it or a tensor is: rate and tensors may differ in type."""
    return r.double() if any(x.dtype == torch.float64 for x in given) else r


@table.kernel("Gradient", 1, domain=DOMAIN)
def gradient(
    *given: Tensor, body: Callable[..., tuple[Tensor, ...]], count: int
) -> tuple[Tensor, ...]:
    """The gradients of what `body` makes of `given`, by the first `count` of these."""
    higher = torch.is_grad_enabled()  # inside another Gradient
    # A tensor of inference mode has no gradient, its clone outside of that mode has.
    with torch.inference_mode(False), torch.enable_grad():
        values = [x.clone() for x in given]
        leaves = [x.requires_grad_() for x in values[:count]]
        (y,) = body(*values)
        if not y.requires_grad:
            return tuple(torch.zeros_like(x) for x in given[:count])
        return torch.autograd.grad(
            y, leaves, torch.ones_like(y), create_graph=higher, materialize_grads=True
        )


@table.kernel("Adagrad", 1, domain=DOMAIN)
def adagrad(
    r: Tensor,
    t: Tensor,
    *given: Tensor,
    decay_factor: float = 0.0,
    epsilon: float = _EPSILON,
    norm_coefficient: float = 0.0,
) -> tuple[Tensor, ...]:
    r = _as_precise_as(r, given)

    def step(x: Tensor, g: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        g = norm_coefficient * x + g
        h = h + g * g
        rate = r / (1 + t.to(r.dtype) * decay_factor)
        return (x - rate * g / (h.sqrt() + epsilon)).to(x.dtype), h

    return _each(step, given, 3)


@table.kernel("Adam", 1, domain=DOMAIN)
def adam(
    r: Tensor,
    t: Tensor,
    *given: Tensor,
    alpha: float = _ALPHA,
    beta: float = _BETA,
    epsilon: float = _EPSILON,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Tensor, ...]:
    r = _as_precise_as(r, given)
    wide = t.to(r.dtype)
    corrected = r * torch.sqrt(1 - beta**wide) / (1 - alpha**wide)
    rate = torch.where(t > 0, corrected, r)

    def step(x: Tensor, g: Tensor, v: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        g = norm_coefficient * x + g
        v = alpha * v + (1 - alpha) * g
        h = beta * h + (1 - beta) * (g * g)
        new = x - rate * (v / (h.sqrt() + epsilon))
        return ((1 - norm_coefficient_post) * new).to(x.dtype), v, h

    return _each(step, given, 4)


@table.kernel("Momentum", 1, domain=DOMAIN)
def momentum(
    r: Tensor,
    t: Tensor,
    *given: Tensor,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> tuple[Tensor, ...]:
    if mode not in ("standard", "nesterov"):
        raise ValueError(f"mode {mode!r} is none of standard, nesterov")

    def step(x: Tensor, g: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        g = norm_coefficient * x + g
        v = alpha * v + torch.where(t > 0, g * beta, g)
        moved = g + alpha * v if mode == "nesterov" else v
        return (x - r * moved).to(x.dtype), v

    return _each(step, given, 3)
