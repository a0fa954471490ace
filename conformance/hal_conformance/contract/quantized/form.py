"""What a generator of quantised forms yields: an operator, its inputs, and the real result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union

import numpy as np

from hal import ElementType, Tensor
from hal.contract import contract
from hal_conformance.contract.draw import Draw
from hal_conformance.contract.numbers import Array
from hal_conformance.contract.quantized.grid import Grid, bias_grid, calibrated, per_channel

__all__ = [
    "SCHEMES",
    "Activation",
    "Constant",
    "Feed",
    "Form",
    "Input",
    "Kit",
    "Made",
    "Scheme",
    "Weight",
    "kits",
    "quantised",
]

_WIDE = (ElementType.INT16, ElementType.UINT16)
_FIRST_OPSET = {False: 13, True: 21}
"""QuantizeLinear has axes since opset 13, and types of 16 bits since 21."""


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How a quantiser was set: types of activations and weights, per tensor or per channel."""

    name: str
    activation: ElementType
    weight: ElementType = ElementType.INT8
    channels: bool = False
    symmetric: bool = False
    """Whether activations are; weights are, except unsigned ones per tensor."""

    @property
    def opset(self) -> int:
        """The lowest opset whose QuantizeLinear has these types."""
        return _FIRST_OPSET[self.activation in _WIDE]


SCHEMES: tuple[Scheme, ...] = (
    Scheme("int8", ElementType.INT8),
    Scheme("int8-symmetric", ElementType.INT8, symmetric=True),
    Scheme("int8-per_channel", ElementType.INT8, channels=True),
    Scheme("uint8", ElementType.UINT8),
    Scheme("uint8-uint8", ElementType.UINT8, ElementType.UINT8),
    Scheme("uint8-per_channel", ElementType.UINT8, channels=True),
    Scheme("int16", ElementType.INT16, symmetric=True),
    Scheme("int16-per_channel", ElementType.INT16, channels=True, symmetric=True),
    Scheme("uint16", ElementType.UINT16),
)
_ABOUT_WEIGHTS = frozenset({"int8-per_channel", "uint8-uint8", "uint8-per_channel"})
_ABOUT_WEIGHTS |= {"int16-per_channel"}


@dataclasses.dataclass(frozen=True)
class Activation:
    """An input of the model in float32, quantised and dequantised before the operator."""

    values: Array
    grid: Grid

    @property
    def real(self) -> Array:
        """What the operator sees."""
        return self.grid.real(self.grid.quantise(self.values.astype(np.float64)))


@dataclasses.dataclass(frozen=True)
class Weight:
    """An initializer of integers, dequantised before the operator."""

    integers: Array
    grid: Grid

    @property
    def real(self) -> Array:
        """What the operator sees."""
        return self.grid.real(self.integers)


@dataclasses.dataclass(frozen=True)
class Constant:
    """An initializer that is not quantised: a shape, axes, slopes."""

    tensor: Tensor


@dataclasses.dataclass(frozen=True)
class Feed:
    """An input of the model that is not quantised: indices, a condition."""

    tensor: Tensor


@dataclasses.dataclass(frozen=True)
class Made:
    """What another operator made of its own inputs, quantised and dequantised again. `result` is
    its exact result on what these stand for."""

    operator: str
    inputs: tuple[Input, ...]
    result: Array
    grid: Grid
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def real(self) -> Array:
        """What the next operator sees."""
        return self.grid.real(self.grid.quantise(self.result))


Input = Union[Activation, Weight, Constant, Feed, Made, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """One operator in its quantised form.

    `outputs`: the grid of each output, or the type string of one that is not quantised. `results`:
    the operator's exact result on what its inputs stand for. `steps`: by how many quantisation
    steps a device may differ (see `tolerance.quantised`).
    """

    operator: str
    slug: str
    inputs: tuple[Input, ...]
    outputs: tuple[Grid | str, ...]
    results: tuple[Array, ...]
    steps: int
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    opset: int = 13

    @property
    def id(self) -> str:
        """E.g. "contract/qdq/Conv-int8-per_channel-pads"."""
        return f"contract/qdq/{self.operator}-{self.slug}"


@dataclasses.dataclass(frozen=True)
class Kit:
    """What a generator is called with: the operator, the scheme, and makers of inputs."""

    operator: str
    scheme: Scheme

    def draw(self, what: str = "") -> Draw:
        """The draws of the form of that name."""
        return Draw(f"contract/qdq/{self.operator}-{self._slug(what)}")

    def activation(
        self,
        draw: Draw,
        shape: Sequence[int],
        low: float = -3.0,
        high: float = 2.5,
        *,
        least: float = -np.inf,
    ) -> Activation:
        """Values over all of the grid of [low, high] and a little beyond it, where they saturate;
        none of them near the middle between two steps, none under `least`."""
        grid = calibrated(low, high, self.scheme.activation, symmetric=self.scheme.symmetric)
        first, last = grid.ends
        wide = 0.04 * (last - first)
        values = draw.floats(shape, max(first - wide, least), last + wide)
        return self.settled(values, grid)

    def settled(self, values: Array, grid: Grid) -> Activation:
        """Values moved away from the middle between two steps."""
        nearest = np.rint(values / grid.scale)
        off = np.clip(values / grid.scale - nearest, -0.25, 0.25)
        return Activation(((nearest + off) * grid.scale).astype(np.float32), grid)

    def weight(
        self, draw: Draw, shape: Sequence[int], *, axis: int = 0, size: float = 1.0
    ) -> Weight:
        """Weights of up to `size`; one grid a channel of `axis` where the scheme says so."""
        element = self.scheme.weight
        real = draw.floats(shape, -size, size)
        if self.scheme.channels:
            spread = [1] * real.ndim
            spread[axis] = -1
            real = real * np.exp2(-(np.arange(real.shape[axis]) % 3)).reshape(spread)
            grid = per_channel(real, axis, element)
        elif element is ElementType.UINT8:
            grid = calibrated(float(real.min()), float(real.max()), element)
        else:
            grid = calibrated(float(real.min()), float(real.max()), element, symmetric=True)
        return Weight(grid.quantise(real), grid)

    def bias(
        self, draw: Draw, count: int, x: Activation | Made, w: Weight, size: float = 2.0
    ) -> Weight:
        """An int32 bias of `count` elements, at the scale of the products."""
        grid = bias_grid(x.grid, w.grid)
        return Weight(grid.quantise(draw.floats((count,), -size, size)), grid)

    def made(
        self,
        operator: str,
        inputs: Sequence[Input],
        result: Array,
        attributes: Mapping[str, Any] | None = None,
    ) -> Made:
        """What an operator in front of the form's own hands to it."""
        return Made(operator, tuple(inputs), result, self.out(result), attributes or {})

    def out(self, result: Array, *, share: float = 1.0) -> Grid:
        """The grid that calibration gives for a result; a `share` under 1 leaves its ends out, so
        that they saturate."""
        low, high = float(result.min()) * share, float(result.max()) * share
        return calibrated(low, high, self.scheme.activation, symmetric=self.scheme.symmetric)

    def form(
        self,
        what: str,
        inputs: Sequence[Input],
        results: Sequence[Array],
        *,
        steps: int,
        outputs: Sequence[Grid | str] | None = None,
        attributes: Mapping[str, Any] | None = None,
        opset: int = 0,
        share: float = 1.0,
    ) -> Form:
        """A form; by default each output has the grid that calibration gives."""
        return Form(
            operator=self.operator,
            slug=self._slug(what),
            inputs=tuple(inputs),
            outputs=tuple(outputs or (self.out(r, share=share) for r in results)),
            results=tuple(results),
            steps=steps,
            attributes=attributes or {},
            opset=max(
                self.scheme.opset, opset, contract().versions_of(self.operator)[0].since_version
            ),
        )

    def _slug(self, what: str) -> str:
        return f"{self.scheme.name}-{what}" if what else self.scheme.name


Maker = Callable[[Kit], Iterator[Form]]

_MAKERS: dict[str, list[tuple[Maker, bool]]] = {}


def quantised(*operators: str, weights: bool = False) -> Callable[[Maker], Maker]:
    """Register a generator of quantised forms. It is called once a scheme; those that differ in
    their weights only where `weights` is set."""

    def register(maker: Maker) -> Maker:
        for operator in operators:
            _MAKERS.setdefault(operator, []).append((maker, weights))
        return maker

    return register


def kits() -> Iterator[tuple[Kit, Maker]]:
    """Every generator with each kit that it is called with, by operator."""
    for operator in sorted(_MAKERS):
        for maker, weights in _MAKERS[operator]:
            for scheme in SCHEMES:
                if weights or scheme.name not in _ABOUT_WEIGHTS:
                    yield Kit(operator, scheme), maker
