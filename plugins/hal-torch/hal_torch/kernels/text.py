"""Strings and text, on the host; TfIdfVectorizer over integers computes in PyTorch.

RegexFullMatch is defined over re2, and matched here by Python's `re`, with re2's ASCII meaning of
the classes d, w, s and of b, and of z as the end. What re2 refuses (lookaround, backreferences,
conditionals, atomic groups, possessive repeats) is refused at compile; so is what only re2 knows
(p, C, Q, the flag U, and classes as [:alpha:]). `re` backtracks: unlike re2, it can take
exponential time on a pattern with a repeat in a repeat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from hal.errors import ModelError, UnsupportedError
from hal.kernels import KernelTable, NodeInfo

__all__ = ["table"]

table = KernelTable()
Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]


@table.kernel("StringConcat", 20, host_only=True)
def string_concat(x: Host, y: Host) -> Host:
    return np.asarray(x.astype(object) + y.astype(object), dtype=object)


@table.kernel("StringSplit", 20, host_only=True)
def string_split(x: Host, *, delimiter: str = "", maxsplit: int | None = None) -> tuple[Host, Host]:
    limit = -1 if maxsplit is None else maxsplit
    parts = [text.split(delimiter or None, limit) for text in x.reshape(-1).tolist()]
    width = max(map(len, parts), default=0)
    made = np.full((len(parts), width), "", dtype=object)
    for row, found in zip(made, parts, strict=True):
        row[: len(found)] = found
    counts = np.array([len(found) for found in parts], dtype=np.int64)
    return made.reshape(*x.shape, width), counts.reshape(x.shape)


@table.kernel("StringNormalizer", 10, host_only=True)
def string_normalizer(
    x: Host,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "",
    stopwords: Sequence[str] = (),
) -> Host:
    """Stop words go, then case changes. `locale` is not needed: Unicode's own rules are used."""
    actions: dict[str, Callable[[str], str]] = {
        "NONE": str,
        "LOWER": str.lower,
        "UPPER": str.upper,
    }
    if case_change_action not in actions:
        raise ValueError(f"case_change_action {case_change_action!r} is none of NONE, LOWER, UPPER")
    fold = str if is_case_sensitive else str.lower
    stops = {fold(word) for word in stopwords}
    change = actions[case_change_action]
    kept = [change(word) for word in x.reshape(-1).tolist() if fold(word) not in stops]
    made = np.array(kept or [""], dtype=object)
    return made.reshape(1, -1) if x.ndim == 2 else made


FOREIGN = re.compile(
    r"\(\?(?:[=!>(]|<[=!]|P=|[a-zA-Z]*U)"  # lookaround, atomic, conditional, named reference
    r"|[*+?}]\+"  # possessive
    r"|\\(?:[1-9]|[pPCQEK])|\[\[?:"
)


def _python_pattern(pattern: str) -> str:
    """The pattern as `re` takes it. Raises UnsupportedError for what it cannot mean."""
    made: list[str] = []
    index = 0
    while index < len(pattern):
        found = FOREIGN.match(pattern, index)
        if found:
            raise UnsupportedError(f"the pattern has {found[0]!r}, which re2 or Python's re lacks")
        width = 2 if pattern[index] == "\\" else 1
        part = pattern[index : index + width]
        made.append(r"\Z" if part == r"\z" else part)
        index += width
    return "".join(made)


@table.specialized("RegexFullMatch", 20, attributes=("pattern",), host_only=True)
def regex_full_match(node: NodeInfo) -> Callable[[Host], Host]:
    pattern = str(node.attributes.get("pattern", ""))
    try:
        matches = re.compile(_python_pattern(pattern), re.ASCII).fullmatch
    except (re.error, OverflowError, RecursionError) as error:
        raise UnsupportedError(f"Python's re does not take the pattern: {error}") from error

    def run(x: Host) -> Host:
        hits = [matches(text) is not None for text in x.reshape(-1).tolist()]
        found: Host = np.array(hits, dtype=bool).reshape(x.shape)
        return found

    return run


# TfIdfVectorizer


class _Grams:
    """The pool's n-grams as a tree: from a state (a prefix) and a token's number to the next state.

    State 0 is the start. A step is a key `state * tokens + token` in `keys`, sorted, and leads to
    `states`; `outputs` is the output column of a state that is a whole n-gram, else `size`.
    """

    def __init__(self, grams: Sequence[tuple[Any, ...]], columns: Sequence[int], size: int) -> None:
        tokens = sorted({token for gram in grams for token in gram})
        self.tokens = {token: number for number, token in enumerate(tokens)}
        self.longest = max(map(len, grams), default=0)
        steps: dict[int, int] = {}
        outputs = [size]
        for gram, column in zip(grams, columns, strict=True):
            state = 0
            for token in gram:
                key = state * len(tokens) + self.tokens[token]
                if key not in steps:
                    steps[key] = len(outputs)
                    outputs.append(size)
                state = steps[key]
            outputs[state] = column
        self.keys = np.array(sorted(steps), dtype=np.int64)
        self.states = np.array([steps[key] for key in sorted(steps)], dtype=np.int64)
        self.outputs = np.array(outputs, dtype=np.int64)


TFIDF = (
    "max_gram_length",
    "max_skip_count",
    "min_gram_length",
    "mode",
    "ngram_counts",
    "ngram_indexes",
    "pool_int64s",
    "pool_strings",
    "weights",
)


def _pool(node: NodeInfo) -> tuple[_Grams, int]:
    """The n-grams of the wanted lengths, and the width of the output."""
    given = node.attributes
    pool = tuple(given.get("pool_int64s") or given.get("pool_strings") or ())
    starts = [*given["ngram_counts"], len(pool)]
    columns = list(given["ngram_indexes"])
    wanted: list[tuple[Any, ...]] = []
    for n in range(1, len(starts)):
        part = pool[starts[n - 1] : starts[n]]
        wanted += [part[i : i + n] for i in range(0, len(part), n)]
    if len(wanted) != len(columns) or any(c < 0 for c in columns) or not columns:
        raise ModelError(f"the pool has {len(wanted)} n-grams, ngram_indexes {len(columns)}")
    least, most = given["min_gram_length"], given["max_gram_length"]
    kept = [(g, c) for g, c in zip(wanted, columns, strict=True) if least <= len(g) <= most]
    size = max(columns) + 1
    return _Grams([g for g, _ in kept], [c for _, c in kept], size), size


def _counter(node: NodeInfo, grams: _Grams, size: int, device: Any) -> Callable[[Tensor], Tensor]:
    """From token numbers [N, C] (negative: unknown) to counts [N, size], weighted by the mode."""
    keys, states, outputs = (
        torch.as_tensor(a, device=device) for a in (grams.keys, grams.states, grams.outputs)
    )
    mode, skips = str(node.attributes["mode"]), int(node.attributes["max_skip_count"])
    if mode not in ("TF", "IDF", "TFIDF"):
        raise UnsupportedError(f"mode {mode!r} is none of TF, IDF, TFIDF")
    given = node.attributes.get("weights") or ()
    weights = torch.ones(size, device=device)
    if given:
        weights[: len(given)] = torch.tensor(given[:size], device=device)
    tokens = len(grams.tokens)

    def run(numbers: Tensor) -> Tensor:
        counts = torch.zeros(len(numbers), size + 1, device=device)
        for step in range(1, skips + 2 if len(keys) else 1):
            state = torch.zeros_like(numbers)
            for n in range(grams.longest):
                later = numbers[:, n * step :]
                if not later.shape[1]:
                    break
                state = state[:, : later.shape[1]]
                key = torch.where((later < 0) | (state < 0), -1, state * tokens + later)
                at = torch.searchsorted(keys, key.contiguous()).clamp_(max=len(keys) - 1)
                state = torch.where(keys[at] == key, states[at], -1)
                if n == 0 and step > 1:
                    continue  # a skip does not change unigrams, which count once
                column = torch.where(state < 0, size, outputs[state.clamp(min=0)])
                counts.scatter_add_(1, column, torch.ones_like(column, dtype=counts.dtype))
        found = counts[:, :size]
        if mode == "TF":
            return found
        return (found > 0) * weights if mode == "IDF" else found * weights

    return run


@table.specialized("TfIdfVectorizer", 9, types={"T": {"int32", "int64"}}, attributes=TFIDF)
def tf_idf_vectorizer(node: NodeInfo) -> Callable[[Tensor], Tensor]:
    if not node.attributes.get("pool_int64s"):
        raise UnsupportedError("it has no pool_int64s for an input of integers")
    device = node.arrays.device
    grams, size = _pool(node)
    count = _counter(node, grams, size, device)
    known = torch.tensor(list(grams.tokens) or [0], dtype=torch.int64, device=device)

    def run(x: Tensor) -> Tensor:
        rows = (x if x.dim() > 1 else x.unsqueeze(0)).to(torch.int64).contiguous()
        at = torch.searchsorted(known, rows).clamp_(max=len(known) - 1)
        made = count(torch.where(known[at] == rows, at, -1))
        return made if x.dim() > 1 else made[0]

    return run


@table.specialized("TfIdfVectorizer", 9, types={"T": {"string"}}, attributes=TFIDF, host_only=True)
def tf_idf_vectorizer_of_strings(node: NodeInfo) -> Callable[[Host], Host]:
    if not node.attributes.get("pool_strings"):
        raise UnsupportedError("it has no pool_strings for an input of strings")
    grams, size = _pool(node)
    count = _counter(node, grams, size, "cpu")

    def run(x: Host) -> Host:
        numbers = [grams.tokens.get(text, -1) for text in x.reshape(-1).tolist()]
        rows = torch.tensor(numbers, dtype=torch.int64).view(x.shape if x.ndim > 1 else (1, -1))
        made: Host = count(rows).numpy()
        return made if x.ndim > 1 else made[0]

    return run
