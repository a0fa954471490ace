"""Normalisation: over batch, instance, layer, group and channels; Dropout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.arrays import dtype_of
from hal_torch.kernels._window import widened

__all__ = ["table"]

Tensor = torch.Tensor
Kernel = Callable[..., Any]
table = KernelTable()


@table.specialized(
    "BatchNormalization", 6, 7, 9, attributes=("epsilon", "is_test", "momentum", "spatial")
)
def batch_normalization_6(node: NodeInfo) -> Kernel:
    """Before version 14 more than one output asks for training."""
    epsilon, momentum = node.attributes["epsilon"], node.attributes["momentum"]
    if node.version == 6 and not node.attributes["is_test"]:
        raise UnsupportedError("training (is_test=0) in version 6")
    if node.attributes.get("spatial", 1) == 0:
        if node.outputs > 1:
            raise UnsupportedError("training with spatial=0")
        return lambda x, scale, b, mean, var: _per_element(x, scale, b, mean, var, epsilon)
    if node.outputs == 1:
        return _inference(epsilon)

    def train(x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, ...]:
        y, running_mean, running_var, now, spread = _training(
            x, scale, b, mean, var, epsilon, momentum
        )
        return y, running_mean, running_var, now.to(mean.dtype), spread.to(var.dtype)

    return train


@table.specialized(
    "BatchNormalization", 14, 15, attributes=("epsilon", "momentum", "training_mode")
)
def batch_normalization(node: NodeInfo) -> Kernel:
    epsilon, momentum = node.attributes["epsilon"], node.attributes["momentum"]
    if not node.attributes["training_mode"]:
        return _inference(epsilon)
    return lambda x, scale, b, mean, var: _training(x, scale, b, mean, var, epsilon, momentum)[:3]


def _inference(epsilon: float) -> Kernel:
    def run(x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        if x.dtype == scale.dtype == mean.dtype and x.dim() > 1:
            return torch.batch_norm(x, scale, b, mean, var, False, 0.0, epsilon, True)
        return _normalized(x, scale, b, mean, var, epsilon)

    return run


def _normalized(
    x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor, epsilon: float
) -> Tensor:
    """With statistics of each channel, whatever their types; one axis is a batch of one channel."""
    image = widened(x) if x.dim() > 1 else widened(x)[:, None]
    scale, b, mean, var = (t.to(image.dtype) for t in (scale, b, mean, var))
    y = torch.batch_norm(image, scale, b, mean, var, False, 0.0, epsilon, True)
    return y.reshape(x.shape).to(x.dtype)


def _per_element(
    x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor, epsilon: float
) -> Tensor:
    wide = widened(x)
    scale, b, mean, var = (t.to(wide.dtype) for t in (scale, b, mean, var))
    return ((wide - mean) / (var + epsilon).sqrt() * scale + b).to(x.dtype)


def _training(
    x: Tensor,
    scale: Tensor,
    b: Tensor,
    mean: Tensor,
    var: Tensor,
    epsilon: float,
    momentum: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The result, the running statistics, and those of this batch (of the population)."""
    wide = widened(x)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    now_var, now_mean = torch.var_mean(wide, dim=axes, correction=0)
    y = _normalized(x, scale, b, now_mean.reshape(-1), now_var.reshape(-1), epsilon)
    running = [
        (widened(old) * momentum + now.reshape(-1).to(widened(old).dtype) * (1 - momentum)).to(
            old.dtype
        )
        for old, now in ((mean, now_mean), (var, now_var))
    ]
    return y, running[0], running[1], now_mean.reshape(-1), now_var.reshape(-1)


@table.kernel("InstanceNormalization", 6, 22)
def instance_normalization(x: Tensor, scale: Tensor, b: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return torch.group_norm(x, x.shape[1], scale, b, epsilon)


@table.kernel("GroupNormalization", 21, attributes=("stash_type",))
def group_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5
) -> Tensor:
    """The statistics are never less precise than float32, whatever `stash_type` says. Version 18 is
    deprecated by the very opset that brought it, so no model may use it."""
    return torch.group_norm(x, num_groups, scale, bias, epsilon)


@table.specialized("LayerNormalization", 17, attributes=("axis", "epsilon", "stash_type"))
def layer_normalization(node: NodeInfo) -> Kernel:
    """The statistics are never less precise than float32, whatever `stash_type` says: it gives the
    type that they are stored in."""
    axis, epsilon = node.attributes["axis"], node.attributes["epsilon"]
    stash = dtype_of("bfloat16" if node.attributes["stash_type"] == 16 else "float")

    def run(x: Tensor, scale: Tensor, b: Tensor | None = None) -> Tensor:
        shape = x.shape[axis:]
        if scale.shape == shape and (b is None or b.shape == shape):
            return torch.layer_norm(x, shape, scale, b, epsilon)
        y = torch.layer_norm(widened(x), shape, None, None, epsilon) * scale
        return (y if b is None else y + b).to(x.dtype)

    def with_statistics(
        x: Tensor, scale: Tensor, b: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = widened(x)
        y, mean, inverse = torch.native_layer_norm(wide, x.shape[axis:], None, None, epsilon)
        y = y * scale
        y = (y if b is None else y + b).to(x.dtype)
        return y, mean.to(stash), inverse.to(stash)

    return with_statistics if node.outputs > 1 else run


@table.specialized("RMSNormalization", 23, attributes=("axis", "epsilon", "stash_type"))
def rms_normalization(node: NodeInfo) -> Kernel:
    axis, epsilon = node.attributes["axis"], node.attributes["epsilon"]
    made = dtype_of(node.output_types[0] or node.input_types[1])

    def run(x: Tensor, scale: Tensor) -> Tensor:
        shape = x.shape[axis:]
        if scale.shape == shape and x.dtype == scale.dtype:
            return torch.rms_norm(x, shape, scale, epsilon)
        return (torch.rms_norm(widened(x), shape, None, epsilon) * scale).to(made)

    return run


@table.kernel("LRN", 1, 13)
def lrn(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    if not x.numel():
        return x
    wide = widened(x)
    # A trace is better off with one step for the sum.
    add = _sum_of_neighbours if size <= 9 and type(x) is Tensor else _pooled_sum
    base = add(wide.square(), size) * (alpha / size) + bias
    # Two roots take a tenth of the time of a power.
    power = (root := base.sqrt()) * root.sqrt() if beta == 0.75 else base.pow(beta)
    return (wide / power).to(x.dtype)


def _sum_of_neighbours(x: Tensor, size: int) -> Tensor:
    """Over the channels from (size - 1) // 2 before each to size // 2 after it."""
    total = x.clone()
    for shift in range(1, min((size - 1) // 2, x.shape[1] - 1) + 1):
        total[:, shift:] += x[:, :-shift]
    for shift in range(1, min(size // 2, x.shape[1] - 1) + 1):
        total[:, :-shift] += x[:, shift:]
    return total


def _pooled_sum(x: Tensor, size: int) -> Tensor:
    padded = F.pad(x.reshape(x.shape[0], 1, x.shape[1], -1), (0, 0, (size - 1) // 2, size // 2))
    return F.avg_pool2d(padded, (size, 1), stride=1, divisor_override=1).reshape(x.shape)


@table.kernel("MeanVarianceNormalization", 9, 13)
def mean_variance_normalization(x: Tensor, *, axes: tuple[int, ...] = (0, 2, 3)) -> Tensor:
    """The 1e-9 is the function body's in the standard."""
    wide = widened(x)
    centred = wide - wide.mean(dim=axes, keepdim=True)
    std = centred.square().mean(dim=axes, keepdim=True).sqrt()
    return (centred / (std + 1e-9)).to(x.dtype)


@table.kernel("LpNormalization", 1, 22)
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    wide = widened(x)
    norm = torch.linalg.vector_norm(wide, p, dim=axis, keepdim=True)
    return (wide / torch.where(norm == 0, 1, norm)).to(x.dtype)


@table.specialized("Dropout", 6, 7, 10, attributes=("is_test", "ratio"))
def dropout_6(node: NodeInfo) -> Kernel:
    """Inference, which is all that versions 7 and 10 have."""
    if node.version == 6 and not node.attributes["is_test"]:
        raise UnsupportedError("training (is_test=0) in version 6")
    if node.outputs == 1:
        return lambda x: x
    mask = torch.bool if node.version == 10 else None
    return lambda x: (x, torch.ones_like(x, dtype=mask or x.dtype))


@table.specialized("Dropout", 12, 13, 22, host=(1, 2), deterministic=False, attributes=("seed",))
def dropout(node: NodeInfo) -> Kernel:
    seed = node.attributes.get("seed")

    def run(x: Tensor, ratio: Any = None, training_mode: Any = None) -> tuple[Tensor, ...] | Tensor:
        share = 0.5 if ratio is None else float(np.asarray(ratio).astype(np.float64))
        if share == 0.0 or training_mode is None or not bool(training_mode):
            if node.outputs == 1:
                return x
            return x, torch.ones_like(x, dtype=torch.bool)
        mask = _uniform(x.shape, x.device, seed) >= share
        wide = x if x.dtype == torch.float64 else x.float()
        y = torch.where(mask, wide / (1 - share), 0).to(x.dtype)
        return (y, mask) if node.outputs > 1 else y

    return run


def _uniform(shape: Sequence[int], device: torch.device, seed: float | None) -> Tensor:
    """Uniform in [0, 1): the same twice where there is a seed."""
    if seed is None:
        return torch.rand(tuple(shape), device=device)
    # On the host, so that a seed gives the same on every device, whether it has generators or not.
    generator = torch.Generator()
    generator.manual_seed(int(np.float32(seed).view(np.int32)))
    return torch.rand(tuple(shape), generator=generator).to(device)
