"""What candidates are asked, and the right answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hal.graph import read_model
from hal.inputs import draw_inputs
from hal.model import Model
from hal.plugins import Registry
from hal.reference import Reference, ReferenceRun
from hal.tensor import Value

__all__ = ["Asked", "questions"]

_MORE_DRAWS = (101, 102)
"""Seeds of further inputs, for candidates that compute in another type."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """Inputs, and what the reference gives for them."""

    inputs: Mapping[str, Value]
    answers: ReferenceRun


def questions(
    registry: Registry,
    model: Model,
    inputs: Mapping[str, Value] | None,
    sizes: Mapping[str, int],
    *,
    inexact: bool,
) -> list[Asked]:
    """The user's own inputs with the reference's answers, or what is drawn, with `sizes` for open
    dimensions; `inexact`: some more draws, since how far off another type is depends on them.
    Raises as `hal.reference.Reference.run`."""
    given = [inputs]
    if inputs is None:
        graph = read_model(model)
        seeds = (0, *_MORE_DRAWS) if inexact else (0,)
        given = [draw_inputs(graph, seed=seed, sizes=sizes) for seed in seeds]
    with Reference(registry, model) as reference:
        return [
            Asked(i, reference.run(i, conditioning=number == 0))
            for number, i in enumerate(given)
            if i is not None
        ]
