"""Window functions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, is_float, narrow
from hal_conformance.contract.tolerance import composed


def _window(name: str, size: int, periodic: bool) -> Array:
    n = np.arange(size)
    turns = 2 * np.pi * n / (size if periodic else size - 1)
    if name == "HannWindow":
        return 0.5 - 0.5 * np.cos(turns)
    if name == "HammingWindow":
        return 25 / 46 - 21 / 46 * np.cos(turns)
    return 0.42 - 0.5 * np.cos(turns) + 0.08 * np.cos(2 * turns)


@generates("HannWindow", "HammingWindow", "BlackmanWindow")
def window(ask: Ask) -> Iterator[Draft]:
    """Periodic and symmetric, of even and odd length, into every type."""
    target = ask.element if ask.constraint == "T2" else ElementType.FLOAT
    kind = ask.element if ask.constraint == "T1" else ElementType.INT64
    # Odd periodic windows stay below one everywhere: cut off to an integer, they are zero.
    rows = ((10, 1), (9, 1), (10, 0), (9, 0)) if is_float(target) else ((5, 1), (3, 1))
    for size, periodic in rows:
        values = _window(ask.name, size, bool(periodic))
        if not is_float(target):
            values = np.zeros(size)
        attributes = {"periodic": periodic, "output_datatype": int(target)}
        # The functions' bodies compute in float32.
        computed = ElementType.FLOAT if target is ElementType.DOUBLE else target
        yield ask.draft(
            f"{'periodic' if periodic else 'symmetric'}{size}",
            [narrow(np.array(size), kind)],
            [values],
            outputs=(f"tensor({target.onnx_name})",),
            attributes=attributes,
            tolerance=composed(computed, magnitude=1.0),
            oracle="native",
            constants=frozenset({0}) if size == 9 else frozenset(),
            dynamic_outputs=size != 9,
        )
