"""Named devices side by side on one model; nothing is decided, and nothing compared."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from hal._options import parse_options
from hal.errors import HalError
from hal.graph import read_model
from hal.inputs import draw_inputs
from hal.plugins import Registry, load_plugins
from hal.routing._candidate import Candidate
from hal.routing._candidates import devices_of
from hal.routing._identity import identify
from hal.routing._report import Row
from hal.routing._route import values_of
from hal.routing._trial import Trial
from hal.store import Store
from hal.timing import run_blocks

__all__ = ["bench", "parse_candidate"]

_LIMIT = 600.0


def bench(
    model: Any,
    devices: tuple[str, ...],
    *,
    inputs: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    rounds: int = 5,
    say: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Time devices in blocks, each in a process of its own; rows in the order of time, and below
    them those that failed, with why. `devices` are "ID" or "ID,option=value,..."; none means every
    ready one that is neither slow nor an emulator. Raises as `hal.routing.route`."""
    with Store() as store, load_plugins() as registry, contextlib.ExitStack() as stack:
        known = identify(model, store)
        if inputs is None:
            values = draw_inputs(read_model(known.model), sizes=sizes or {})
        else:
            values = values_of(known, inputs)
        rows: dict[str, Row] = {}
        trials: dict[str, Trial] = {}
        for candidate in _candidates(registry, devices):
            label = candidate.label
            say(f"compiling for {label}")
            rows[label] = Row(candidate, "failed")
            try:
                trial = Trial(registry, candidate, known.model, values, timeout=_LIMIT)
                stack.callback(trial.close)
                trial.run()
            except HalError as error:
                reason = f"{type(error).__name__}: {error}"
                rows[label] = dataclasses.replace(rows[label], reason=reason)
                continue
            trials[label] = trial
        say(f"timing {', '.join(trials)}")
        timings = run_blocks({n: t.block for n, t in trials.items()}, rounds=rounds)
        for label, timing in timings.items():
            trial = trials[label]
            rows[label] = dataclasses.replace(
                rows[label],
                state="lost",
                blocks=timing.blocks,
                p99=trial.p99,
                memory=trial.memory,
                once=trial.once,
                compiled=trial.compiled,
            )
    return sorted(rows.values(), key=lambda r: r.median if r.blocks else math.inf)


def _candidates(registry: Registry, names: tuple[str, ...]) -> list[Candidate]:
    if names:
        return [parse_candidate(registry, name) for name in names]
    devices, struck = devices_of(registry, (), allow_emulated=False)
    return [Candidate(device) for device in devices if device.id not in struck]


def parse_candidate(registry: Registry, text: str) -> Candidate:
    """Of "ID,option=value,...". Raises as `parse_options` and `Registry.find_device`."""
    name, *words = text.split(",")
    return Candidate(registry.find_device(name), parse_options(words))
