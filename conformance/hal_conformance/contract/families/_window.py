"""How a window slides over an image: what convolution and pooling share."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["Shape", "Window", "everywhere", "window_attributes"]

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Window:
    """How a window slides; `pads` as in the standard, all begins before all ends."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: Shape
    ceil: bool = False

    def extents(self, spatial: Shape) -> Shape:
        """The output's spatial extents."""
        result = []
        rank = len(spatial)
        for i, extent in enumerate(spatial):
            before, after = self.pads[i], self.pads[i + rank]
            reach = (self.kernel[i] - 1) * self.dilations[i] + 1
            steps = extent + before + after - reach
            count = (-(-steps // self.strides[i]) if self.ceil else steps // self.strides[i]) + 1
            if self.ceil and (count - 1) * self.strides[i] >= extent + before:
                count -= 1  # a window that starts in the padding behind is left out
            result.append(count)
        return tuple(result)

    def reads(self, at: Sequence[int], spatial: Shape) -> Iterator[tuple[Shape, Shape]]:
        """For an output position each (place in the kernel, place in the input) that exists."""
        for k in itertools.product(*(range(e) for e in self.kernel)):
            place = tuple(
                a * s + o * d - p
                for a, s, o, d, p in zip(
                    at, self.strides, k, self.dilations, self.pads, strict=False
                )
            )
            if all(0 <= q < e for q, e in zip(place, spatial, strict=True)):
                yield k, place

    def padded_size(self, at: Sequence[int], spatial: Shape) -> int:
        """How many places of the window lie in the input or its padding."""
        size = 1
        rank = len(spatial)
        for i, a in enumerate(at):
            first = a * self.strides[i] - self.pads[i]
            end = spatial[i] + self.pads[i + rank]
            size *= sum(first + o * self.dilations[i] < end for o in range(self.kernel[i]))
        return size


def everywhere(place: Sequence[int]) -> tuple[Any, ...]:
    """The index of a place in all batches and channels."""
    return (slice(None), slice(None), *place)


def window_attributes(window: Window) -> dict[str, Any]:
    result: dict[str, Any] = {"kernel_shape": list(window.kernel)}
    if any(s != 1 for s in window.strides):
        result["strides"] = list(window.strides)
    if any(d != 1 for d in window.dilations):
        result["dilations"] = list(window.dilations)
    if any(window.pads):
        result["pads"] = list(window.pads)
    if window.ceil:
        result["ceil_mode"] = 1
    return result
