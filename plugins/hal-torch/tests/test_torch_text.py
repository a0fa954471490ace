"""Strings, regular expressions and TfIdfVectorizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def strings(*values: str) -> Any:
    return np.array(values, dtype=object)


OPERATORS = (
    "StringConcat",
    "StringSplit",
    "StringNormalizer",
    "RegexFullMatch",
    "TfIdfVectorizer",
)


@pytest.mark.parametrize("operator", OPERATORS)
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([operator]) == []


def test_concat_broadcasts(run_node: Any) -> None:
    (got,) = run_node(
        "StringConcat", [strings("a", "ü").reshape(2, 1), strings("x", "")], ["string"]
    )
    assert got.numpy().tolist() == [["ax", "a"], ["üx", "ü"]]


def test_split_of_nothing(run_node: Any) -> None:
    empty = np.empty((0, 2), dtype=object)
    parts, counts = run_node("StringSplit", [empty], ["string", "int64"], {"delimiter": ","})
    assert (parts.shape, counts.shape) == ((0, 2, 0), (0, 2))


@pytest.mark.parametrize(
    ("attributes", "words", "kept"),
    [
        ({"case_change_action": "LOWER", "stopwords": ["Mon"]}, ["mon", "TUE"], ["tue"]),
        (
            {"case_change_action": "UPPER", "stopwords": ["Mon"], "is_case_sensitive": 1},
            ["mon", "Mon", "é"],
            ["MON", "É"],
        ),
        ({"stopwords": ["a"], "is_case_sensitive": 1}, ["a", "a"], [""]),
    ],
)
def test_normalizer(run_node: Any, attributes: Any, words: Any, kept: Any) -> None:
    (got,) = run_node("StringNormalizer", [strings(*words)], ["string"], attributes)
    assert got.numpy().tolist() == kept


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"\w+", "abc_1", True),
        (r"\w+", "é", False),  # re2's classes are ASCII
        (r"ab\z", "ab", True),
        (r"a|ab", "ab", True),
        (r"a.c", "a\nc", False),
        (r"(?i)ABC", "abc", True),
        (r"(?P<year>\d{4})-\d\d", "2024-05", True),
    ],
)
def test_regex(run_node: Any, pattern: str, text: str, matches: bool) -> None:
    (got,) = run_node("RegexFullMatch", [strings(text)], ["bool"], {"pattern": pattern})
    assert got.numpy().tolist() == [matches]


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "(?=a)", "(?<!a)b", "(?>a)", "a*+", r"\pL", "[[:alpha:]]", "(", "(?(1)a)"]
)
def test_regex_that_re2_or_re_lacks_is_refused(run_node: Any, pattern: str) -> None:
    with pytest.raises(Exception, match=r"lacks|does not take"):
        run_node("RegexFullMatch", [strings("a")], ["bool"], {"pattern": pattern})


POOL = [2, 3, 5, 4, 5, 6, 7, 8, 6, 7]


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize(("least", "most", "skips"), [(1, 1, 0), (1, 2, 0), (2, 2, 5), (1, 2, 3)])
@pytest.mark.parametrize("kind", ["int32", "int64", "string"])
def test_tf_idf(check_node: Any, kind: str, least: int, most: int, skips: int, mode: str) -> None:
    x = np.array([[1, 1, 3, 3, 3, 7, 6, 8], [8, 6, 7, 5, 6, 8, 2, 4]])
    pool: dict[str, Any] = {"pool_int64s": POOL}
    if kind == "string":
        x = x.astype(str).astype(object)
        pool = {"pool_strings": [str(p) for p in POOL]}
    else:
        x = x.astype(kind)
    attributes = {
        **pool,
        "mode": mode,
        "min_gram_length": least,
        "max_gram_length": most,
        "max_skip_count": skips,
        "ngram_counts": [0, 4],
        "ngram_indexes": [6, 5, 4, 3, 2, 1, 0],
        "weights": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    }
    options: dict[str, Any] = {"rtol": 1e-6}
    if mode == "TF":
        del attributes["weights"]
    check_node("TfIdfVectorizer", [x], ["float"], attributes, **options)
    check_node("TfIdfVectorizer", [x[0]], ["float"], attributes, **options)
