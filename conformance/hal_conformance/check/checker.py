"""One model on one device: what does not run, what is wrong, and which node it is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hal import Device, Model, Outcome, Value
from hal.backend import Option, UnsupportedNode
from hal.compare import relative_l2
from hal.errors import HalError, OutputError
from hal.plugins import Registry
from hal.reference import Reference
from hal_conformance.check.parts import Parts
from hal_conformance.check.refused import all_refused
from hal_conformance.check.result import CheckResult, Culprit, Output
from hal_conformance.check.search import Found, Search
from hal_conformance.check.trial import BROKEN, Engine, Trial
from hal_conformance.check.truth import Truth
from hal_conformance.report import Limits

__all__ = ["Checker"]

_BUDGET = 512 << 20
_MOST_RECORDS = 3
_LEAST_SECONDS = 5.0
"""A part of a model that hangs is waited for a sixth as long as the whole, and this at least."""


class Checker:
    """Checks a model on devices; the reference run is shared by all of them. A context manager.

    `inputs` are values by graph input name, `drawn` says that HAL made them up. `accuracy` is the
    relative L2 error that is admitted (0: what the model's conditioning admits). `limits` hold for
    each call of an engine. `budget` is how many bytes of values in the middle are held at a time.
    Raises ModelError for what is no valid model.
    """

    def __init__(
        self,
        registry: Registry,
        model: Model,
        inputs: Mapping[str, Value],
        *,
        name: str,
        drawn: bool,
        accuracy: float,
        limits: Limits,
        budget: int = _BUDGET,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._registry = registry
        self._parts = Parts(model, inputs)
        self._inputs, self._name, self._drawn = inputs, name, drawn
        self._accuracy, self._limits, self._budget = accuracy, limits, budget
        self._tell = tell
        self._truths: dict[str, Truth] = {}
        self._references: dict[str, Reference] = {}

    def check(
        self, device: Device, options: Mapping[str, Option], repro: Path | None = None
    ) -> CheckResult:
        """What comes of the model on a device. With `repro` the nodes at fault are saved there.

        Raises UnsupportedError where no engine can be the reference, OutputError where the folder
        cannot be written; what the device does is no exception but an outcome.
        """
        start = time.perf_counter()
        spec = self._registry.backends[device.backend].spec
        with self._registry.host(
            device.backend, timeout=self._limits.timeout, memory=self._limits.memory
        ) as host:
            engine = Engine(host, device, spec, options)
            result = self._checked(engine, repro)
        return dataclasses.replace(result, seconds=time.perf_counter() - start)

    def close(self) -> None:
        """End the reference's processes."""
        self._truths.clear()
        while self._references:
            self._references.popitem()[1].close()

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _checked(self, engine: Engine, repro: Path | None) -> CheckResult:
        parts, device = self._parts, engine.device
        names = tuple(node.name for node in parts.nodes)
        keys = parts.operators(range(len(names)))
        result = CheckResult(
            device=device,
            options=engine.options,
            outcome=Outcome.PASS,
            reason="",
            nodes=names,
            operators=dict(zip(names, keys, strict=True)),
            seconds=0.0,
            drawn=self._drawn,
            accuracy=self._accuracy,
        )
        self._tell(f"running on {device.id}")
        unsupported = all_refused(
            engine, parts, self._inputs, seconds=self._limits.timeout, tell=self._tell
        )
        if unsupported:
            return dataclasses.replace(
                result,
                outcome=Outcome.UNSUPPORTED,
                unsupported=unsupported,
                reason=f"{device.id} does not take {len(unsupported)} of {len(names)} nodes",
            )
        trial = engine.run(parts.model, self._inputs, names)
        result = dataclasses.replace(
            result,
            outcome=trial.outcome,
            reason=trial.reason,
            next_step=trial.next_step,
            placement=trial.placement,
        )
        if trial.outcome in BROKEN:
            return self._located(result, engine, repro)
        if trial.outcome is not Outcome.PASS:
            said = tuple(
                UnsupportedNode(n, result.operators.get(n, ""), trial.reason) for n in trial.nodes
            )
            return dataclasses.replace(result, unsupported=said)
        return self._judged(result, engine, trial, repro)

    def _judged(
        self, result: CheckResult, engine: Engine, trial: Trial, repro: Path | None
    ) -> CheckResult:
        device, placement = engine.device, trial.placement
        truth = self._truth(device)
        run = truth.run
        outputs = []
        for name in self._parts.outputs:
            expected, got = run.outputs[name], trial.outputs.get(name)
            error = relative_l2(expected, got) if got is not None else float("inf")
            outputs.append(
                Output(
                    name,
                    error,
                    truth.tolerance(name),
                    truth.wrong(name, expected, got),
                    name not in truth.random,
                )
            )
        wrong = [o for o in outputs if o.reason]
        result = dataclasses.replace(
            result,
            outputs=tuple(outputs),
            engine=run.engine,
            precision=run.precision,
            independent=run.independent,
            conditioned_by=run.conditioned_by,
        )
        if placement and placement.fell_back(device.id, accelerator=device.kind != "cpu"):
            elsewhere = placement.elsewhere(device.id)
            return dataclasses.replace(
                result,
                outcome=Outcome.FALLBACK,
                reason=f"{len(elsewhere) or 'all'} nodes ran somewhere else, or nowhere",
            )
        if not wrong:
            return result
        result = dataclasses.replace(
            result,
            outcome=Outcome.WRONG,
            reason=f"output {wrong[0].name!r}: {wrong[0].reason}",
        )
        return self._located(result, engine, repro)

    def _located(self, result: CheckResult, engine: Engine, repro: Path | None) -> CheckResult:
        """The result with the nodes at fault."""
        if result.outcome is Outcome.TIMEOUT:
            engine.limit(max(_LEAST_SECONDS, self._limits.timeout / 6))
        try:
            truth = self._truth(engine.device)
            search = Search(
                self._parts,
                engine,
                truth,
                self._inputs,
                result.outcome,
                budget=self._budget,
                tell=self._tell,
            )
            found = search.find()
            if found is None:
                return dataclasses.replace(
                    result, problem="no part of the model shows it when it runs by itself"
                )
            culprit = self._culprit(found, engine, truth, repro)
            return dataclasses.replace(result, culprit=culprit)
        except OutputError:
            raise
        except HalError as error:
            return dataclasses.replace(result, problem=str(error))

    def _culprit(self, found: Found, engine: Engine, truth: Truth, repro: Path | None) -> Culprit:
        from hal_conformance.check.record import record_of, save_case

        parts, device = self._parts, engine.device
        culprit = Culprit(
            tuple(parts.nodes[i].name for i in found.nodes),
            parts.operators(found.nodes),
            found.results[0] if found.results else "",
            found.reason,
        )
        distinct = list(dict.fromkeys(culprit.operators))[:_MOST_RECORDS]
        self._tell(f"looking at how {', '.join(distinct)} does by itself")
        culprit = dataclasses.replace(
            culprit,
            records=tuple(record_of(engine, operator) for operator in distinct),
        )
        if repro is None:
            return culprit
        self._tell("saving the reproduction")
        given = truth.values(parts.inputs(found.nodes))
        results = found.results or tuple(parts.results(found.nodes))
        nodes = parts.needed(found.nodes, results)
        folder, outcome = save_case(
            self._registry,
            device,
            engine.options,
            f"{self._name}/{culprit.nodes[0]}",
            parts.cut(nodes, given, dict.fromkeys(results, "")),
            given,
            self._accuracy,
            self._limits,
            repro,
        )
        return dataclasses.replace(culprit, folder=folder, reproduced=outcome)

    def _truth(self, device: Device) -> Truth:
        backend = device.backend
        if backend not in self._truths:
            self._tell("running the reference")
            reference = self._references[backend] = Reference(
                self._registry,
                self._parts.model,
                candidate=device.id,
                timeout=self._limits.timeout,
                memory=max(self._limits.memory, 8 << 30),
            )
            self._truths[backend] = Truth(
                reference, self._parts, self._inputs, self._accuracy, self._budget
            )
        return self._truths[backend]
