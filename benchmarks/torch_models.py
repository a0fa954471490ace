"""The models that the torch benchmarks run: HAL's zoo, with inputs as NumPy arrays."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from hal_conformance import models

from hal import Tensor
from hal.graph import read_model
from hal.inputs import draw_inputs

__all__ = ["ARCHITECTURES", "LIGHT", "BenchmarkModel", "load"]

LIGHT = models.LIGHT
ARCHITECTURES = tuple(name for name in models.names() if name not in LIGHT)
_PAST = 24


@dataclasses.dataclass(frozen=True)
class BenchmarkModel:
    """A model's file and the inputs to run it with, by name."""

    name: str
    path: Path
    inputs: dict[str, np.ndarray[Any, np.dtype[Any]]]
    dynamic: frozenset[str]
    """What the model leaves open: "batch", "sequence"."""


def load(name: str, batch: int = 1, sequence: int = 64) -> BenchmarkModel:
    """A model of the zoo with seeded inputs of that batch and, where the model has one, sequence
    length (at least 8). Raises UsageError for an unknown name."""
    open_dims = models.info(name).dynamic
    sizes = {"batch": batch, "sequence": sequence, "samples": 100 * sequence}
    sizes |= {"past": _PAST, "total": _PAST + sequence}
    graph = read_model(models.load(name))
    drawn = draw_inputs(graph, sizes={n: s for n, s in sizes.items() if n in open_dims})
    dynamic = {"sequence" if n == "samples" else n for n in open_dims} & {"batch", "sequence"}
    inputs = {n: v.numpy() for n, v in drawn.items() if isinstance(v, Tensor)}
    return BenchmarkModel(name, models.path(name), inputs, frozenset(dynamic))
