"""`--depth deep` of one device: the search from end to end, and what it adds to the report."""

from __future__ import annotations

import collections
import functools
import time
from collections.abc import Callable, Mapping, Sequence

from hal import Device
from hal.backend import Option
from hal.plugins import Registry
from hal_conformance.deep.makers import Target
from hal_conformance.deep.search import Found, search
from hal_conformance.report import DeepReport, Limits

__all__ = ["run_deep"]


def run_deep(
    registry: Registry,
    device: Device,
    chosen: Sequence[Target],
    limits: Limits,
    options: Mapping[str, Option],
    draws: int,
    progress: Callable[[Found], None] = lambda found: None,
) -> DeepReport:
    """Search these targets. Ctrl-C ends the search; what it found until then is returned."""
    start = time.perf_counter()
    new_host = functools.partial(
        registry.host, device.backend, timeout=limits.timeout, memory=limits.memory
    )
    spec = registry.backends[device.backend].spec
    found: list[Found] = []
    try:
        for one in search(chosen, device, spec, new_host, options, draws=draws):
            found.append(one)
            progress(one)
    except KeyboardInterrupt:
        pass
    outcomes: collections.Counter[str] = collections.Counter()
    for one in found:
        outcomes.update({outcome.value: count for outcome, count in one.outcomes.items()})
    return DeepReport(
        draws,
        len(chosen),
        len(found),
        dict(sorted(outcomes.items())),
        tuple(one.minimal for one in found if one.minimal),
        tuple(f"{one.stem}: {one.note}" for one in found if one.note),
        time.perf_counter() - start,
    )
