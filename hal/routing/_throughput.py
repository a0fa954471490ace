"""Throughput: over the batch sizes and the numbers of threads, which gives most."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from hal.errors import HalError
from hal.graph import read_model
from hal.inputs import draw_inputs
from hal.model import Model
from hal.routing._trial import Trial
from hal.tensor import Value

__all__ = ["batches_of", "best_throughput"]

_BATCHES = (1, 4, 16)
_BATCH = re.compile(r"batch|^n$|^b$", re.IGNORECASE)

Batches = Mapping[int, "Mapping[str, Value] | None"]
"""Inputs by batch size; None for those of the trial."""


def batches_of(
    model: Model, given: Mapping[str, Value] | None, sizes: Mapping[str, int]
) -> Batches:
    """Inputs for each batch size. The user's own are as they are, one item a run; so are those of
    a model that leaves no dimension open whose name says that it is the batch."""
    name = next((n for n in sizes if _BATCH.search(n)), "")
    if given is not None or not name:
        return {1: None}
    graph = read_model(model)
    return {n: draw_inputs(graph, sizes={**sizes, name: n}) for n in _BATCHES}


def best_throughput(trial: Trial, batches: Batches) -> tuple[float, int, int]:
    """Items a second, and the batch size and the threads that give as many."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    best = (0.0, 1, 1)
    for batch, inputs in batches.items():
        try:
            for streams in sorted({1, 2, cores, 2 * cores}):
                found = batch * trial.throughput(streams, inputs), batch, streams
                best = max(best, found)
        except HalError:
            if batch == 1:
                raise
            break  # it does not take this batch, and so no larger one
    return best
