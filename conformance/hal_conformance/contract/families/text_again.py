"""Strings once more: scalars and nothing, and one model on other texts, empty ones among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.numbers import Array, narrow, widen

_TEXT = "tensor(string)"


def _texts(*texts: str) -> Array:
    return np.array(texts, dtype=object)


def _tensor(values: Array) -> Tensor:
    return narrow(values, ElementType.STRING)


@generates("StringConcat")
def concat_again(ask: Ask) -> Iterator[Draft]:
    """Two scalars; then pairs of which nothing is left."""
    a, b = _tensor(np.array("a", object)), _tensor(np.array("b", object))
    yield ask.draft("scalars", [a, b], [np.array("ab", object)], oracle="native")
    full, none = _tensor(_texts("a", "b", "c", "d", "e")), _tensor(_texts("", "x", "", "", ""))
    runs = [Run((v, v), (np.asarray(widen(v) + widen(v)),)) for v in (full, none)]
    yield Draft(slug="again", runs=tuple(runs), outputs=(_TEXT,), oracle="native")


@generates("RegexFullMatch")
def match_nothing(ask: Ask) -> Iterator[Draft]:
    """No text at all."""
    if ask.first:
        yield ask.draft(
            "nothing",
            [_tensor(np.zeros((0, 2), object))],
            [np.zeros((0, 2), bool)],
            outputs=("tensor(bool)",),
            attributes={"pattern": "a"},
            oracle="native",
        )


@generates("StringSplit")
def split_again(ask: Ask) -> Iterator[Draft]:
    """A scalar, no text at all; then texts in which there is nothing."""
    if not ask.first:
        return
    outputs = (_TEXT, "tensor(int64)")
    yield ask.draft(
        "of-scalar",
        [_tensor(np.array("a b c", object))],
        [_texts("a", "b", "c"), np.array(3)],
        outputs=outputs,
        attributes={"delimiter": " "},
        oracle="native",
    )
    yield ask.draft(
        "of-none",
        [_tensor(np.zeros(0, object))],
        [np.zeros((0, 0), object), np.zeros(0, np.int64)],
        outputs=outputs,
        attributes={"delimiter": " "},
        oracle="native",
        dynamic_outputs=True,
    )
    rows = [
        (_texts("a b", "c", "d"), [["a", "b"], ["c", ""], ["d", ""]], [2, 1, 1]),
        (_texts("", "e f", " "), [["", ""], ["e", "f"], ["", ""]], [0, 2, 0]),
    ]
    yield Draft(
        slug="again",
        runs=tuple(
            Run((_tensor(x),), (np.array(parts, object), np.array(counts)))
            for x, parts, counts in rows
        ),
        outputs=outputs,
        oracle="native",
        dynamic_outputs=True,
    )


@generates("StringNormalizer")
def normalized_again(ask: Ask) -> Iterator[Draft]:
    """Nineteen texts; then as many as before, others, of which nothing is left; without regard to
    case by default."""
    many = _tensor(_texts(*(f"t{i}" for i in range(19))))
    yield ask.draft("many", [many], [widen(many)], outputs=(_TEXT,), oracle="native")
    yield Draft(
        slug="again",
        runs=tuple(
            Run((_tensor(_texts(given)),), (_texts(kept),))
            for given, kept in (("a", "a"), ("b", "b"), ("no", ""))
        ),
        outputs=(_TEXT,),
        attributes={"stopwords": ["no"], "is_case_sensitive": 1},
        oracle="native",
        dynamic_outputs=True,
    )
    yield ask.draft(
        "stop-default",
        [_tensor(_texts("No", "yes", "NO"))],
        [_texts("yes")],
        outputs=(_TEXT,),
        attributes={"stopwords": ["no"]},
        oracle="none",
        reason="onnx 1.23.2's evaluator lowers the words of the text, not those it compares",
        dynamic_outputs=True,
    )
