"""The geometry of sliding windows: what convolutions and pooling have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from hal.errors import UnsupportedError
from hal.kernels import NodeInfo

__all__ = ["WINDOW_ATTRIBUTES", "Window", "by_rank", "known_rank", "widened"]

WINDOW_ATTRIBUTES = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
_HALF = (torch.float16, torch.bfloat16)
_Result = TypeVar("_Result")


def widened(x: torch.Tensor) -> torch.Tensor:
    """float16 and bfloat16 as float32, anything else as it is."""
    return x.float() if x.dtype in _HALF else x


@dataclasses.dataclass(frozen=True)
class Window:
    """A window's attributes along each spatial axis, with the standard's defaults filled in."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    auto_pad: str
    ceil_mode: bool = False

    @classmethod
    def of(cls, node: NodeInfo, kernel: Sequence[int]) -> Window:
        """The window of a node. Raises UnsupportedError for attributes that contradict it."""
        rank = len(kernel)
        given = node.attributes
        ones = (1,) * rank
        auto_pad = given.get("auto_pad") or "NOTSET"
        if auto_pad not in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"):
            raise UnsupportedError(f"auto_pad is {auto_pad!r}")
        pads = tuple(given.get("pads") or ())
        if auto_pad != "NOTSET" or not pads:
            pads = (0,) * (2 * rank)
        strides = tuple(given.get("strides") or ones)
        dilations = tuple(given.get("dilations") or ones)
        if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank):
            raise UnsupportedError(
                f"strides {strides}, dilations {dilations} and pads {pads} do not fit "
                f"{rank} spatial axes"
            )
        if min(strides, default=1) < 1 or min(dilations, default=1) < 1:
            raise UnsupportedError(f"strides {strides} or dilations {dilations} below 1")
        return cls(
            kernel=tuple(kernel),
            strides=strides,
            dilations=dilations,
            begins=pads[:rank],
            ends=pads[rank:],
            auto_pad=auto_pad,
            ceil_mode=bool(given.get("ceil_mode", 0)),
        )

    @property
    def rank(self) -> int:
        """How many spatial axes there are."""
        return len(self.kernel)

    @property
    def extents(self) -> tuple[int, ...]:
        """The elements from a window's first to its last, dilation included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def is_same(self) -> bool:
        """Whether the padding follows from the input's size."""
        return self.auto_pad.startswith("SAME")

    @property
    def is_symmetric(self) -> bool:
        """Whether the padding is known, none is negative, and both ends have the same."""
        return not self.is_same and self.begins == self.ends and min(self.begins, default=0) >= 0

    @property
    def is_dilated(self) -> bool:
        """Whether a window skips elements."""
        return max(self.dilations, default=1) > 1

    def padding(self, sizes: Sequence[int]) -> tuple[list[int], list[int]]:
        """The padding before and behind each spatial axis of these sizes."""
        if not self.is_same:
            return list(self.begins), list(self.ends)
        begins: list[int] = []
        ends: list[int] = []
        for size, extent, stride in zip(sizes, self.extents, self.strides, strict=True):
            total = max(((size - 1) // stride) * stride + extent - size, 0)
            less = total // 2
            begins.append(less if self.auto_pad == "SAME_UPPER" else total - less)
            ends.append(total - begins[-1])
        return begins, ends

    def outputs(self, sizes: Sequence[int]) -> list[int]:
        """How many windows there are along each axis: with `ceil_mode` also those that reach over
        the end, if they start inside the input or the padding before it."""
        begins, ends = self.padding(sizes)
        found: list[int] = []
        for axis, size in enumerate(sizes):
            stride = self.strides[axis]
            room = size + begins[axis] + ends[axis] - self.extents[axis]
            count = room // stride + 1
            if self.ceil_mode and self.auto_pad == "NOTSET":
                count = -(-room // stride) + 1
                if (count - 1) * stride >= size + begins[axis]:
                    count -= 1
            found.append(max(count, 0))
        return found


def known_rank(node: NodeInfo) -> int | None:
    """The number of spatial axes, if the attributes or the inputs' shapes tell."""
    for name in ("kernel_shape", "strides", "dilations"):
        if node.attributes.get(name):
            return len(node.attributes[name])
    # The data and, for a convolution, the weight.
    for shape in node.input_shapes[:2]:
        if shape is not None:
            return len(shape) - 2
    return None


def by_rank(
    node: NodeInfo, make: Callable[[int], Callable[..., _Result]]
) -> Callable[..., _Result]:
    """The kernel that `make` builds for the number of spatial axes: now, or at the first run that
    shows it. Raises UnsupportedError where torch has no such kernel."""

    def made_for(rank: int) -> Callable[..., _Result]:
        if not 1 <= rank <= 3:
            raise UnsupportedError(f"{node.label} over {rank} spatial axes; torch has 1 to 3")
        return make(rank)

    rank = known_rank(node)
    if rank is not None:
        return made_for(rank)
    kernels: dict[int, Callable[..., _Result]] = {}

    def run(x: torch.Tensor, *rest: Any) -> _Result:
        found = kernels.get(x.dim() - 2)
        if found is None:
            found = kernels[x.dim() - 2] = made_for(x.dim() - 2)
        return found(x, *rest)

    return run
