"""Drafts become cases; and the list of all of them."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from collections.abc import Iterator, Sequence

from hal import Model, Tensor, Value
from hal.contract import STABLE_DOMAINS, Operator, contract
from hal_conformance.case import Case, DataSet
from hal_conformance.contract.digits import digits
from hal_conformance.contract.draft import Ask, Draft, generators_of
from hal_conformance.contract.draw import seed_of
from hal_conformance.contract.nonfinite import nonfinite
from hal_conformance.contract.older.table import OLDER, asks_of
from hal_conformance.contract.oracles import Verdict, expected_of
from hal_conformance.contract.protos import Dim, model_of, symbolic
from hal_conformance.contract.quantized.build import quantised_cases
from hal_conformance.contract.ranks import deep_ranks
from hal_conformance.contract.reuse import reused
from hal_conformance.contract.special import special
from hal_conformance.model_facts import model_facts

__all__ = ["build", "contract_cases", "drafts", "load_families", "older_drafts"]


def contract_cases() -> Iterator[Case]:
    """Every case of the suite: by operator, constraint and type as the contract has them, then the
    quantised forms."""
    for ask, draft in (*drafts(), *older_drafts()):
        yield build(ask, draft)
    yield from quantised_cases()


def drafts(*keys: str) -> Iterator[tuple[Ask, Draft]]:
    """What the generators yield for these operators; for all of them, those of the preview domains
    and of com.microsoft last, if none is named.

    Raises ValueError where a generator yields one id twice.
    """
    load_families()
    wanted = [contract().latest(key) for key in keys] or [
        *sorted(contract().operators, key=lambda op: op.domain not in STABLE_DOMAINS),
        *contract().contributed.operators,
    ]
    for operator in wanted:
        seen: set[str] = set()
        for ask in _asks(operator):
            for draft in _of_ask(ask):
                if ask.id(draft.slug) in seen:
                    raise ValueError(f"the id {ask.id(draft.slug)} is given twice")
                seen.add(ask.id(draft.slug))
                yield ask, draft


def _of_ask(ask: Ask) -> Iterator[Draft]:
    """What the generators yield for an ask, and what follows from it."""

    def made(ask: Ask) -> Iterator[Draft]:
        for generator in generators_of(ask.operator.key):
            yield from generator(ask)

    own = list(made(ask))
    yield from own
    operator = ask.operator
    if ask.main and operator.domain in STABLE_DOMAINS and not operator.random:
        known = {d.slug for d in own}
        again = list(made(dataclasses.replace(ask, salt="again")))
        derived = (reused(ask, own, again), special(ask, own), nonfinite(ask, own))
        for draft in itertools.chain(*derived, digits(ask, own), deep_ranks(ask, own)):
            if draft.slug not in known:
                known.add(draft.slug)
                yield draft


def older_drafts() -> Iterator[tuple[Ask, Draft]]:
    """What the generators of older versions yield, in the order of their table."""
    for row in OLDER:
        for ask in asks_of(row.resolve()):
            for draft in row.generator(ask):
                yield ask, draft


def build(ask: Ask, draft: Draft) -> Case:
    """The case of a draft: its model, its data, and the cells that its types exercise."""
    operator, case_id = ask.operator, ask.id(draft.slug)
    try:
        verdict = expected_of(operator, draft)
    except Exception as error:
        raise RuntimeError(f"{case_id}: {type(error).__name__}: {error}") from error
    dims = [_output_dims(draft, i, verdict.outputs) for i in range(len(draft.outputs))]
    model = model_of(operator, draft, dims)
    facts = model_facts(model)
    return Case(
        id=case_id,
        suite="contract",
        nodes=facts.nodes,
        operators=facts.operators,
        cells=facts.cells,
        single_operator=operator.key if draft.twice else facts.single_operator,
        expanded=False,
        opset=facts.opset,
        ir_version=facts.ir_version,
        rtol=draft.tolerance.rtol,
        atol=draft.tolerance.atol,
        disputed=verdict.disputed,
        judge=draft.judge,
        model=Model(model.SerializeToString(deterministic=True)),
        data_sets=tuple(
            DataSet(_inputs(draft, run.inputs), _outputs(draft, outputs))
            for run, outputs in zip(draft.runs, verdict.outputs, strict=True)
        ),
        tolerance_source=draft.tolerance.source,
        oracles=_oracles(draft, verdict),
        seed=seed_of(case_id).hex(),
    )


def _oracles(draft: Draft, verdict: Verdict) -> str:
    types = "the case's own types" if draft.oracle == "native" else "widened types"
    asked = "ONNX's operators in its" if draft.composition else "ONNX's"
    evaluator = f"{asked} reference evaluator on {types}"
    if not draft.runs[0].expected:
        return evaluator
    formula = "the formula of the family in higher precision"
    return f"{formula} alone: {verdict.alone}" if verdict.alone else f"{formula}, and {evaluator}"


def _asks(operator: Operator) -> Iterator[Ask]:
    if not operator.constraints:
        yield Ask(operator, "", "")
    for constraint in operator.constraints:
        for type_ in constraint.types:
            yield Ask(operator, constraint.name, type_)


def load_families() -> None:
    """Import the families, so that each registers its generators."""
    for package in ("families", "microsoft"):
        importlib.import_module(f"hal_conformance.contract.{package}")


def _inputs(draft: Draft, values: Sequence[Value | None]) -> dict[str, Value]:
    fed = [None if i in draft.constants else value for i, value in enumerate(values)]
    return _named("x", fed)


def _named(letter: str, values: Sequence[Value | None]) -> dict[str, Value]:
    return {f"{letter}{i}": value for i, value in enumerate(values) if value is not None}


def _outputs(draft: Draft, values: Sequence[Value | None]) -> dict[str, Value]:
    named = _named("y", values)
    return {**named, **_named("z", values)} if draft.twice else named


def _output_dims(
    draft: Draft, position: int, outputs: Sequence[Sequence[Value | None]]
) -> list[Dim] | None:
    shapes = [value.shape for run in outputs if isinstance(value := run[position], Tensor)]
    if not shapes:
        return None
    computed = draft.dynamic_outputs
    return symbolic(shapes, f"y{position}", always=computed or draft.dynamic)
