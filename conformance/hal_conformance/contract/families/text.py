"""Operators on strings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, narrow, widen

_TEXT = "tensor(string)"


def _strings(*texts: str) -> Array:
    return np.array(texts, dtype=object)


@generates("StringConcat")
def string_concat(ask: Ask) -> Iterator[Draft]:
    """With broadcasting both ways; empty strings and several bytes a character."""
    for slug, left, right in (
        ("same", (3, 4), (3, 4)),
        ("both", (4, 1, 3), (2, 1)),
        ("scalar", (), (2, 3)),
        ("empty", (0, 3), (3,)),
    ):
        draw = ask.draw(slug)
        a, b = draw.tensor(ask.element, left), draw.tensor(ask.element, right)
        expected = np.asarray(widen(a) + widen(b), dtype=object)
        yield ask.draft(slug, [a, b], [expected], oracle="native")


@generates("RegexFullMatch")
def regex_full_match(ask: Ask) -> Iterator[Draft]:
    """The whole string or nothing: classes, repeats, alternatives, the empty string."""
    if not ask.first:
        return
    texts = _strings("abc", "abcd", "", "a1", "1.5", "naïve", "x@y.org", "ABC", "a\nb")
    for slug, pattern, matching in (
        ("literal", "abc", {"abc"}),
        ("class", "[a-z]+[0-9]?", {"abc", "abcd", "a1"}),
        ("alternatives", "abc|1\\.5", {"abc", "1.5"}),
        ("empty", "", {""}),
        ("part", "b", set()),
        ("any", "(?s).*", set(texts.tolist())),
    ):
        expected = np.array([t in matching for t in texts.tolist()])
        yield ask.draft(
            slug,
            [narrow(texts, ElementType.STRING)],
            [expected],
            outputs=("tensor(bool)",),
            attributes={"pattern": pattern},
            oracle="native",
        )


@generates("StringSplit")
def string_split(ask: Ask) -> Iterator[Draft]:
    """By a delimiter of one and two characters, by blanks, with a limit; rank 0 to 2."""
    if not ask.first:
        return
    outputs = (_TEXT, "tensor(int64)")
    for slug, texts, delimiter, limit in (
        ("comma", _strings("a,b,c", ",", "no", "a,,b"), ",", None),
        ("two", _strings("a--b-c", "--", "x"), "--", None),
        ("blanks", _strings("  a  b ", "c", "d e  f"), None, None),
        ("whitespace", _strings("a\tb", "c\n d", "e"), None, None),
        ("limit", _strings("a,b,c,d", "e", "f,g"), ",", 2),
        ("matrix", _strings("a b", "c", "d e f", "g").reshape(2, 2), " ", None),
    ):
        pieces = [t.split(delimiter, -1 if limit is None else limit) for t in texts.ravel()]
        longest = max(len(p) for p in pieces)
        padded = np.full((len(pieces), longest), "", dtype=object)
        for row, parts in enumerate(pieces):
            padded[row, : len(parts)] = parts
        counts = np.array([len(p) for p in pieces], np.int64).reshape(texts.shape)
        attributes: dict[str, str | int] = {}
        if delimiter is not None:
            attributes["delimiter"] = delimiter
        if limit is not None:
            attributes["maxsplit"] = limit
        yield ask.draft(
            slug,
            [narrow(texts, ElementType.STRING)],
            [padded.reshape(*texts.shape, longest), counts],
            outputs=outputs,
            attributes=attributes,
            oracle="native",
            dynamic_outputs=True,
        )


@generates("StringNormalizer")
def string_normalizer(ask: Ask) -> Iterator[Draft]:
    """Both cases, stop words with and without regard to case, nothing left."""
    texts = _strings("Monday", "tuesday", "WEDNESDAY", "monday")
    for slug, attributes, expected in (
        ("lower", {"case_change_action": "LOWER"}, [t.lower() for t in texts]),
        ("upper", {"case_change_action": "UPPER"}, [t.upper() for t in texts]),
        ("stop", {"stopwords": ["monday"], "is_case_sensitive": 1}, list(texts[:3])),
        ("stop-any-case", {"stopwords": ["monday"], "is_case_sensitive": 0}, list(texts[1:3])),
        ("none", {}, list(texts)),
        ("nothing-left", {"stopwords": list(texts), "is_case_sensitive": 1}, [""]),
    ):
        yield ask.draft(
            slug,
            [narrow(texts, ElementType.STRING)],
            [np.array(expected, dtype=object)],
            outputs=(_TEXT,),
            attributes=attributes,
            oracle="none" if slug == "stop-any-case" else "native",
            reason="onnx 1.23.2's evaluator lowers the words of the text, not those it compares",
            dynamic_outputs=True,
        )
