"""How often real models use each operator, and on which shapes: what `mine` found in the zoo."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

__all__ = ["Argument", "Instance", "OperatorUsage", "Usage", "usage"]


@dataclasses.dataclass(frozen=True)
class Argument:
    """An input or output of a node: element type by ONNX's name, and shape. "seq(float)" is a
    sequence of as many tensors as the shape's first extent, of the rest of it.

    Of inputs: `constant` if the model fixes it; `values` (flat) where they matter and are few, else
    the `range` (from, to but without) in which they lie.
    """

    type: str
    shape: tuple[int, ...]
    constant: bool = False
    values: tuple[Any, ...] | None = None
    range: tuple[float, float] | None = None

    @property
    def element(self) -> str:
        """The name of the element type, of a sequence too."""
        return self.type.removeprefix("seq(").rstrip(")")

    @property
    def sequence(self) -> bool:
        return self.type.startswith("seq(")

    def __str__(self) -> str:
        """ "float[1,64,56,56]"."""
        return f"{self.type}[{','.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True)
class Instance:
    """A node as models have it: `count` nodes of the zoo are the same. An omitted input or output
    is None. `attributes` hold numbers, texts, lists of these, or an Argument for a tensor.
    `typical`: no model has it, HAL chose the size."""

    count: int
    opset: int
    attributes: Mapping[str, Any]
    inputs: tuple[Argument | None, ...]
    outputs: tuple[Argument | None, ...]
    typical: bool = False


@dataclasses.dataclass(frozen=True)
class OperatorUsage:
    """`nodes` of the zoo, in so many `models`; `instances` are those on which the models spend most
    elements, largest share first, none for operators with subgraphs."""

    nodes: int
    models: int
    instances: tuple[Instance, ...]


@dataclasses.dataclass(frozen=True)
class Usage:
    """What was mined from `models`, by operator key."""

    models: tuple[str, ...]
    operators: Mapping[str, OperatorUsage]

    @property
    def nodes(self) -> int:
        """Of all models."""
        return sum(o.nodes for o in self.operators.values())


@functools.cache
def usage() -> Usage:
    """The data that comes with this package."""
    text = resources.files(__package__).joinpath("usage.json").read_text("utf-8")
    data = json.loads(text)
    operators = {
        key: OperatorUsage(o["nodes"], o["models"], tuple(map(_instance, o["instances"])))
        for key, o in data["operators"].items()
    }
    return Usage(tuple(data["models"]), operators)


def _instance(data: Mapping[str, Any]) -> Instance:
    return Instance(
        data["count"],
        data["opset"],
        {k: _argument(v) if isinstance(v, dict) else v for k, v in data["attributes"].items()},
        tuple(i and _argument(i) for i in data["inputs"]),
        tuple(o and _argument(o) for o in data["outputs"]),
    )


def _argument(data: Mapping[str, Any]) -> Argument:
    values, bounds = data.get("values"), data.get("range")
    return Argument(
        data["type"],
        tuple(data["shape"]),
        bool(data.get("constant")),
        None if values is None else tuple(values),
        None if bounds is None else (bounds[0], bounds[1]),
    )
