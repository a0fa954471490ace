"""The decision: candidates, prediction, the correctness gate, measurement, and the best of them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence

from hal.device import Device
from hal.errors import FallbackError, HalError, SkewError, UnfedError, UnsupportedError
from hal.graph import ModelGraph, read_model
from hal.inputs import draw_inputs, input_sizes
from hal.plugins import Registry
from hal.routing._asked import Asked, questions
from hal.routing._candidates import Entry, devices_of, entries_of
from hal.routing._cost import CostModel, Work, measured, work_of
from hal.routing._devices import remember
from hal.routing._environment import Environment
from hal.routing._facts import facts_of
from hal.routing._identity import Known
from hal.routing._policy import Policy
from hal.routing._race import NOISE, Race
from hal.routing._report import Route, Row
from hal.routing._sizes import sizes_of
from hal.routing._throughput import batches_of, best_throughput
from hal.routing._trial import Trial, tolerances
from hal.routing._variants import derive
from hal.store import Store
from hal.tensor import Tensor, Value

__all__ = ["REFUSALS", "SHARE", "Request", "decide"]

REFUSALS = (UnsupportedError, FallbackError, SkewError, UnfedError)
"""What a compiler says of a model that is not for its device."""

SHARE = 0.4
"""The share of the candidates that are measured at most, two at least."""
_LEAST = 2
_HOPELESS = 2.5
"""How many times the best single run another's may take and still be timed in blocks."""
_EXHAUSTED = 6.0
"""The same where every candidate is wanted."""
_LIMIT = 120.0
"""Seconds for each call of a candidate that has not proved itself yet, compiling included."""

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Request:
    """What a route is asked for. `devices` names some; none means every ready one. `inputs` are the
    user's own; without them they are drawn, with `sizes` for open dimensions. `budget` is in
    seconds of measurement. `exhaustive` measures every candidate, however long it takes to compile
    them, for benchmarks."""

    policy: Policy = dataclasses.field(default_factory=Policy)
    accuracy: float | None = None
    devices: tuple[str, ...] = ()
    allow_emulated: bool = False
    budget: float = 20.0
    inputs: Mapping[str, Value] | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    exhaustive: bool = False


def decide(
    registry: Registry,
    known: Known,
    store: Store,
    environment: Environment,
    request: Request,
    say: Say = lambda text: None,
    *,
    asked: Sequence[Asked] = (),
) -> Route:
    """Decide, and keep the decision. `say` gets a line on what is being done. `asked` is what
    `questions` gives for the request, where there is that already.

    Raises UsageError for a device that does not exist, UnavailableError when none is ready, and
    UnsupportedError, with each candidate's reason, when none gives right answers.
    """
    start = time.monotonic()
    graph = read_model(known.model)
    sizes = _sizes(graph, request)
    say("asking the devices")
    devices, struck = devices_of(registry, request.devices, allow_emulated=request.allow_emulated)
    remember(store, environment, registry, devices)
    inexact = request.accuracy is not None
    entries = entries_of(
        registry,
        devices,
        struck,
        known.model,
        graph,
        store,
        inexact=inexact,
        calibrated=request.inputs is not None,
        goal=request.policy.goal,
    )
    inputs = request.inputs
    if inputs is None:
        inputs = asked[0].inputs if asked else draw_inputs(graph, sizes=request.sizes)
    shapes = {n: v.shape for n, v in inputs.items() if isinstance(v, Tensor)}
    work = work_of(known.model, shapes)
    costs = CostModel(store, environment.machine)
    rows = {
        e.candidate.label: Row(
            e.candidate,
            "struck" if e.struck else "skipped",
            e.struck,
            predicted=costs.predict(e, work),
        )
        for e in entries
    }
    queue = sorted(
        (e for e in entries if not e.struck), key=lambda e: rows[e.candidate.label].predicted
    )
    taking_part = [d for d in devices if d.id not in struck]
    if not queue:
        raise _in_parts(registry, known, taking_part, {}) or _nothing_works(rows)
    if not asked:
        say("computing the reference")
        asked = questions(registry, known.model, request.inputs, request.sizes, inexact=inexact)
    trials = _Trials(registry, store, known, sizes, asked, request, rows, say)
    clear = trials.run(queue)
    found = _ranked(rows, request.policy)
    if found[0].state != "won":
        refused = trials.refused
        failed = {r.candidate.device.id for r in found if r.state in ("wrong", "failed")}
        left = [d for d in taking_part if d.id in refused or d.id not in failed]
        parts = _in_parts(registry, known, left, refused) if refused else None
        raise parts or _nothing_works({r.candidate.label: r for r in found})
    if request.policy.goal != "latency":  # the race was about latency
        scores = sorted(request.policy.score(r) for r in found if r.state == "lost" and r.blocks)
        clear = not scores or scores[0] > NOISE * request.policy.score(found[0])
    answers = asked[0].answers
    route = Route(
        known.fingerprint,
        tuple(found),
        str(request.policy),
        request.accuracy,
        sizes,
        "synthetic" if request.inputs is None else "given",
        f"{answers.engine} in {answers.precision}; tolerance by {answers.conditioned_by}",
        clear,
        time.monotonic() - start,
        facts_of(registry, devices, environment),
        environment.stamp,
    )
    _keep(store, environment, known, route, entries, work)
    return route


def _sizes(graph: ModelGraph, request: Request) -> dict[str, int]:
    if request.inputs is not None:
        return sizes_of(graph.graph.inputs, request.inputs)
    return input_sizes(graph, request.sizes)


class _Trials:
    """The part of a decision that runs candidates. It fills in their rows."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        known: Known,
        sizes: Mapping[str, int],
        asked: Sequence[Asked],
        request: Request,
        rows: dict[str, Row],
        say: Say,
    ) -> None:
        self._registry, self._store, self._known, self._asked = registry, store, known, asked
        self._request, self._rows, self._say = request, rows, say
        self._sizes = sizes
        self._allowed = tolerances(asked[0].answers, request.accuracy)
        self._open: dict[str, Trial] = {}
        self.refused: dict[str, HalError] = {}
        """What compilers said of the model, by device, after their backends had taken it."""

    def run(self, queue: list[Entry]) -> bool:
        """Try the most promising of the queue until enough gave right answers, and race those;
        returns whether one of them is clearly ahead."""
        most = max(_LEAST, int(SHARE * len(queue)))
        if self._request.exhaustive:
            most = len(queue)
        end = time.monotonic() + self._request.budget
        with contextlib.ExitStack() as stack:
            tried = 0
            for entry in queue:
                # Beyond its share, or its time, it goes on only for want of a right answer.
                late = time.monotonic() + entry.seconds > end and not self._request.exhaustive
                if self._open and (tried >= most or (late and tried >= _LEAST)):
                    continue
                tried += 1
                self._try(entry, stack)
            if not self._open:
                return False
            if self._request.exhaustive:
                end = time.monotonic() + self._request.budget
            clear = self._race(end)
        best = min(self._rows[e.candidate.label].predicted for e in queue)
        for entry in queue:
            row = self._rows[entry.candidate.label]
            if row.state == "skipped":
                reason = f"predicted at {row.predicted / best:.2f} times the best prediction"
                if entry.seconds:
                    reason += f", and takes some {entry.seconds:.0f} s to compile"
                self._set(entry.candidate.label, reason=reason)
        return clear

    def _try(self, entry: Entry, stack: contextlib.ExitStack) -> None:
        label = entry.candidate.label
        self._say(f"trying {label}")
        trial = None
        try:
            model = self._known.model
            if entry.candidate.variant:
                own = self._request.inputs
                model = derive(self._known, entry.candidate.variant, self._store, own)
            inputs = self._asked[0].inputs
            trial = Trial(self._registry, entry.candidate, model, inputs, timeout=_LIMIT)
            exact = entry.precision == "float32"
            errors = trial.errors(self._asked[:1] if exact else self._asked)
            trial.run()
        except HalError as error:
            if trial is not None:
                trial.close()
            elif isinstance(error, REFUSALS) and not entry.candidate.variant:
                self.refused[entry.candidate.device.id] = error
            self._fail(label, error)
            return
        stack.callback(trial.close)
        self._set(label, errors=errors, once=trial.once, compiled=trial.compiled)
        reason = self._wrong(errors)
        if reason:
            faster = [t for t in self._open.values() if t.once > trial.once]
            if faster:
                reason += f"; faster than {faster[0].candidate.label}, and wrong"
            self._set(label, state="wrong", reason=reason, memory=trial.memory)
            return
        self._set(label, state="lost", memory=trial.memory)
        self._open[label] = trial

    def _wrong(self, errors: Mapping[str, float]) -> str:
        """What is wrong with outputs that are so far off; "" if nothing is."""
        wrong = {n: e for n, e in errors.items() if not e <= self._allowed[n]}
        if not wrong:
            return ""
        name = max(wrong, key=lambda n: wrong[n] / max(self._allowed[n], 1e-30))
        return f"output {name!r} is off by {wrong[name]:.2g}, allowed {self._allowed[name]:.2g}"

    def _race(self, end: float) -> bool:
        """Time those that are open; returns whether one is clearly ahead."""
        aside: dict[str, Trial] = {}
        best = min(trial.once for trial in self._open.values())
        goal, timed = self._request.policy.goal, self._request.policy.timed
        most = _EXHAUSTED if self._request.exhaustive else _HOPELESS
        for label, trial in list(self._open.items()):
            slower = trial.once / best
            if slower > most and timed:
                self._set(label, reason=f"one run took {slower:.1f} times the best's")
                aside[label] = self._open.pop(label)
        self._say(f"timing {', '.join(self._open)}")
        blocks = {n: (functools.partial(self._block, n), t.once) for n, t in self._open.items()}
        race = Race(blocks, end)
        clear = race.run(keep_all=not timed)
        for label, trial in list(self._open.items()):
            found = race.blocks(label) or (trial.once,)
            self._set(label, blocks=found, p99=trial.p99, memory=trial.memory)
            self._check_again(label, trial)
        if goal == "throughput":
            batches = batches_of(self._known.model, self._request.inputs, self._sizes)
            for label, trial in list(self._open.items()):
                try:
                    pace, batch, streams = best_throughput(trial, batches)
                except HalError as error:
                    self._fail(label, error)
                    continue
                self._set(label, throughput=pace, batch=batch, streams=streams)
        if aside and not self._open:  # the fast ones have all failed
            for label in aside:
                self._set(label, reason="")
            self._open = aside
            return self._race(end)
        return clear

    def _check_again(self, label: str, trial: Trial) -> None:
        """What was timed must still be right: some engines change with the calls."""
        try:
            reason = self._wrong(trial.errors(self._asked[:1]))
        except HalError as error:
            self._fail(label, error)
            return
        if reason:
            del self._open[label]
            self._set(label, state="wrong", blocks=(), reason=f"after it was timed, {reason}")

    def _block(self, label: str) -> float:
        """A block of a candidate; infinite once it has failed, so that the others go on."""
        if label not in self._open:
            return math.inf
        try:
            return self._open[label].block()
        except HalError as error:
            self._fail(label, error)
            return math.inf

    def _fail(self, label: str, error: HalError) -> None:
        self._open.pop(label, None)
        self._set(label, state="failed", blocks=(), reason=f"{type(error).__name__}: {error}")

    def _set(self, label: str, **changes: object) -> None:
        self._rows[label] = dataclasses.replace(self._rows[label], **changes)  # type: ignore[arg-type]


def _ranked(rows: Mapping[str, Row], policy: Policy) -> list[Row]:
    """The winner first, then the others as they stand; each loser with its reason."""
    right = []
    for row in rows.values():
        if row.state == "lost" and row.blocks:
            broken = policy.broken(row)
            right.append(dataclasses.replace(row, reason=broken) if broken else row)
    right.sort(key=lambda r: (bool(r.reason), policy.score(r)))
    if right and not right[0].reason:
        best = policy.score(right[0])
        right[0] = dataclasses.replace(right[0], state="won", reason="")
        right[1:] = [
            r if r.reason else dataclasses.replace(r, reason=_behind(policy.score(r) / best))
            for r in right[1:]
        ]
    kinds = ("lost", "wrong", "failed", "skipped", "struck")
    rest = [r for r in rows.values() if not (r.state == "lost" and r.blocks)]
    rest.sort(key=lambda r: (kinds.index(r.state), r.once, r.predicted))
    return [*right, *rest]


def _behind(ratio: float) -> str:
    if ratio < NOISE:
        return f"{ratio:.2f} times the winner's, which is within the noise"
    return f"{ratio:.2f} times the winner's"


def _nothing_works(rows: Mapping[str, Row]) -> UnsupportedError:
    reasons = "; ".join(f"{r.candidate.label}: {r.reason}" for r in rows.values() if r.reason)
    return UnsupportedError(
        f"no candidate runs this model and gives right answers: {reasons}",
        next_step="hal devices, or allow an error with --accuracy",
    )


def _in_parts(
    registry: Registry,
    known: Known,
    devices: Sequence[Device],
    refused: Mapping[str, HalError],
) -> UnsupportedError | None:
    """What each device lacks, and where that would run; None where they do not tell."""
    from hal.split import refusal

    return refusal(registry, known.model, devices, refused)


def _keep(
    store: Store,
    environment: Environment,
    known: Known,
    route: Route,
    entries: list[Entry],
    work: Work,
) -> None:
    by_label = {e.candidate.label: e for e in entries}
    for row in route.rows:
        if not row.blocks:
            continue
        label = row.candidate.label
        document = {
            **measured(by_label[label], work, row.median),
            "machine": environment.machine,
            "model": known.fingerprint,
            "median": row.median,
        }
        sizes = ",".join(f"{n}={s}" for n, s in sorted(route.sizes.items()))
        store.put("measurements", f"{label}|{known.fingerprint}|{sizes}", document, group=label)
