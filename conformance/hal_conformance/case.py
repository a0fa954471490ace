"""What a suite is made of: cases, what is known of a case before it is loaded, and the suites."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol

from hal import Model, Value
from hal.contract import CONTRIBUTED_DOMAIN
from hal.errors import UsageError, did_you_mean
from hal.plugins import RegisteredSuite

__all__ = [
    "SUITES",
    "Case",
    "CaseFacts",
    "DataSet",
    "HasId",
    "HostedCase",
    "Judge",
    "Suite",
    "is_contributed",
    "load_suite",
    "select",
]

Judge = Literal["values", "statistics"]


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One set of inputs of a case, by graph input name, and the outputs expected of it, by graph
    output name. A graph input without a value (one that has an initializer) is left out."""

    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseFacts:
    """What is known of a case without its model and its tensors."""

    id: str
    """`<suite>/<path>`, e.g. "onnx/node/test_abs"."""
    suite: str
    nodes: tuple[str, ...]
    """The names of all nodes, those of subgraphs and local functions included; each is unique."""
    operators: tuple[str, ...]
    """Distinct and sorted, "Abs" for ai.onnx, "domain::Name" otherwise."""
    cells: tuple[str, ...]
    """Ids of the contract's cells that the case exercises, e.g. "Abs-13/T/tensor(float)"."""
    single_operator: str
    """The operator when the model's graph is one node (which may hold subgraphs), alone or given
    twice; "" otherwise."""
    expanded: bool
    """Whether the case is the expansion of an operator into the body of its ONNX function."""
    opset: int
    """The version of ai.onnx that the model imports; 0 when it imports none."""
    ir_version: int
    rtol: float
    atol: float
    disputed: str = ""
    """Why the oracles disagree about the expected output; "" when they do not."""
    judge: Judge = "values"
    """Whether the outputs are judged by their values or, where they are random, by statistics."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(CaseFacts):
    """A small model, its data sets and their tolerance, traced to the cells that it exercises."""

    model: Model
    data_sets: tuple[DataSet, ...]
    tolerance_source: str = ""
    """Where rtol and atol come from."""
    oracles: str = ""
    """Who says what is expected."""
    seed: str = ""
    """What the draws were seeded with, "" where nothing was drawn here."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostedCase(CaseFacts):
    """A case that the plugin `module` runs and judges itself, in a backend's host process. Of the
    facts, those of a model (nodes, opset, tolerance) are empty."""

    module: str


class Suite(Protocol):
    """A source of cases. Facts are cheap; a case's model and tensors are read by `load`."""

    @property
    def name(self) -> str:
        """The first part of the suite's case ids."""
        ...

    @property
    def version(self) -> str:
        """What the cases were made from, e.g. "onnx 1.23.2": other versions, other cases."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[CaseFacts]:
        """The facts of every case, in a fixed order."""
        ...

    def facts(self, case_id: str) -> CaseFacts:
        """The facts of one case. Raises UsageError if there is no such case."""
        ...

    def load(self, case_id: str) -> Case | HostedCase:
        """One case whole. May be called from several threads. Raises UsageError if there is no such
        case."""
        ...


SUITES: Mapping[str, str] = MappingProxyType(
    {
        "onnx": "hal_conformance.suite_onnx:load_onnx_suite",
        "contract": "hal_conformance.contract.suite:load_contract_suite",
        "models": "hal_conformance.suite_models:load_models_suite",
    }
)
"""The import string of each suite's loader, a function without arguments, by name."""


def load_suite(name: str, plugins: Mapping[str, RegisteredSuite] = MappingProxyType({})) -> Suite:
    """The suite of that name: one of SUITES, or one that a plugin provides. Raises UsageError if
    there is none, AbsentError if something that it needs is not installed."""
    if name not in SUITES and name in plugins:
        from hal_conformance.suite_plugin import PluginSuite

        return PluginSuite(plugins[name])
    if name not in SUITES:
        known = [*SUITES, *plugins]
        raise UsageError(
            f"there is no suite {name!r}.{did_you_mean(name, known)}",
            next_step=f"choose one of: {', '.join(known)}",
        )
    module, _, function = SUITES[name].partition(":")
    suite: Suite = getattr(importlib.import_module(module), function)()
    return suite


def select(
    cases: Iterable[CaseFacts],
    patterns: Sequence[str] = (),
    *,
    operators: Collection[str] | None = None,
    cells: Collection[str] | None = None,
) -> list[CaseFacts]:
    """The cases that every given condition admits, in their order.

    `patterns`: at least one of them fits the id; one with any of ``* ? [`` is a glob over the whole
    id, any other a part of it, upper and lower case alike. `operators`: every operator of the case
    is among them. `cells`: the case exercises at least one of them. Raises UsageError for a pattern
    that fits no id at all.
    """
    chosen = list(cases)
    if patterns:
        matchers = [_matcher(p) for p in patterns]
        for pattern, matcher in zip(patterns, matchers, strict=True):
            if not any(matcher.search(c.id) for c in chosen):
                raise UsageError(
                    f"no case matches {pattern!r}.{_close_case(pattern, chosen)}",
                    next_step="give a part of a case's id or a glob, e.g. -k softmax or "
                    "-k 'onnx/node/test_cast_*'",
                )
        chosen = [c for c in chosen if any(m.search(c.id) for m in matchers)]
    if operators is not None:
        wanted = frozenset(operators)
        chosen = [c for c in chosen if wanted.issuperset(c.operators)]
    if cells is not None:
        wanted = frozenset(cells)
        chosen = [c for c in chosen if not wanted.isdisjoint(c.cells)]
    return chosen


class HasId(Protocol):
    """Facts of a case, or a result."""

    @property
    def id(self) -> str: ...


def is_contributed(case: HasId) -> bool:
    """Whether the case is about com.microsoft, which is counted apart from the standard."""
    return case.id.startswith(f"contract/{CONTRIBUTED_DOMAIN}.")


def _matcher(pattern: str) -> re.Pattern[str]:
    is_glob = any(sign in pattern for sign in "*?[")
    # translate() anchors the end of a glob; search() needs the start anchored too.
    text = r"\A" + fnmatch.translate(pattern) if is_glob else re.escape(pattern)
    return re.compile(text, re.IGNORECASE)


def _close_case(pattern: str, cases: Sequence[CaseFacts]) -> str:
    operators = {o.lower(): o for c in cases for o in c.operators}
    names = {c.id.rpartition("/")[2].removeprefix("test_") for c in cases}
    # Of an id's parts the version says nothing, and a part that is there needs no other.
    parts = (re.sub(r"-\d+$", "", part) for part in pattern.lower().strip("*").split("/"))
    known = {*operators, *names, *(c.suite for c in cases)}
    close = (did_you_mean(part, [*operators, *names]) for part in parts if part not in known)
    return next(filter(None, close), "")
