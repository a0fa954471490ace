"""How the outputs of random operators are judged: by type, shape, range and statistics.

The standard fixes no generator, even where it has a `seed` attribute, so values of a draw cannot be
compared. A right implementation fails such a check by chance at most once in 10**9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hal import Tensor, Value
from hal.graph import read_model
from hal_conformance.case import Case, DataSet

__all__ = ["FALSE_ALARM", "check_random_outputs"]

FALSE_ALARM = 1e-9
"""The probability with which a right draw may be called wrong."""


def check_random_outputs(case: Case, data: DataSet, got: Mapping[str, Value]) -> str:
    """Judge a draw; "" when it may be right, else the reason why not.

    Type and shape must be those of the expected outputs. Bernoulli: every value is 0 or 1, surely
    where the probability is 0 or 1, and their sum lies within Hoeffding's bound (W. Hoeffding, JASA
    58, 1963) of the sum of the probabilities. Dropout: every value is 0 or the input scaled by
    1 / (1 - ratio), the mask says which, and the number kept lies within the same bound.
    Multinomial: every class is one of the row's, never one of share zero, and each is drawn as
    often as its share says, within that bound for all of them together.
    Uniform and normal draws: see `_drawn`. Raises KeyError for an operator that has no such rule.
    """
    for name, expected in data.outputs.items():
        value = got.get(name)
        if value is None:
            return f"output {name!r} is missing"
        if not (isinstance(expected, Tensor) and isinstance(value, Tensor)):
            return f"output {name!r}: expected a tensor"
        if (expected.type, expected.shape) != (value.type, value.shape):
            return (
                f"output {name!r}: expected {expected.type} {list(expected.shape)}, "
                f"got {value.type} {list(value.shape)}"
            )
    operator = case.single_operator or case.operators[0]
    if operator.startswith("Random"):
        (name,) = data.outputs
        return _drawn(name, operator, _attributes(case), _numbers(got[name]))
    rules = {"Bernoulli": _bernoulli, "Dropout": _dropout, "Multinomial": _multinomial}
    rule = rules[_family(case, operator)]
    return rule(list(data.inputs.values()), list(data.outputs), got)


def _family(case: Case, operator: str) -> str:
    # The expansion of Bernoulli has no node of that name, but computes the same draw.
    return "Bernoulli" if "bernoulli" in case.id else operator


def _bernoulli(inputs: list[Value], names: list[str], got: Mapping[str, Value]) -> str:
    probability = _numbers(inputs[0])
    drawn = _numbers(got[names[0]])
    if not np.isin(drawn, (0.0, 1.0)).all():
        return f"output {names[0]!r}: a Bernoulli draw is 0 or 1, got {_first_other(drawn)}"
    if (drawn[probability == 0] != 0).any() or (drawn[probability == 1] != 1).any():
        return f"output {names[0]!r}: a value of probability 0 was drawn"
    return _within(names[0], float(drawn.sum()), float(probability.sum()), drawn.size)


def _dropout(inputs: list[Value], names: list[str], got: Mapping[str, Value]) -> str:
    data = _numbers(inputs[0])
    ratio = float(_numbers(inputs[1])[0]) if len(inputs) > 1 else 0.5
    output = _numbers(got[names[0]])
    scaled = data / (1 - ratio) if ratio < 1 else np.zeros_like(data)
    kept = np.isclose(output, scaled, rtol=1e-3, atol=1e-7)
    dropped = output == 0
    if not (kept | dropped).all():
        return f"output {names[0]!r}: neither 0 nor the input scaled by 1 / (1 - {ratio:g})"
    if len(names) > 1:
        mask = _numbers(got[names[1]]).astype(bool)
        if not (np.where(mask, kept, dropped)).all():
            return f"output {names[1]!r}: the mask does not say which values were kept"
        kept = mask
    sure = data == 0  # kept and dropped look the same there, unless a mask tells
    count = int(kept.sum()) if len(names) > 1 else int((kept & ~sure).sum())
    draws = kept.size if len(names) > 1 else int((~sure).sum())
    return _within(names[0], count, (1 - ratio) * draws, draws)


def _multinomial(inputs: list[Value], names: list[str], got: Mapping[str, Value]) -> str:
    logits, drawn = inputs[0], got[names[0]]
    rows, classes = logits.shape if isinstance(logits, Tensor) else (0, 0)
    shares = np.exp(_numbers(logits).reshape(rows, classes))
    shares /= shares.sum(1, keepdims=True)
    chosen = _numbers(drawn).reshape(rows, -1)
    if not np.isin(chosen, np.arange(classes)).all():
        return f"output {names[0]!r}: a class is not one of 0 to {classes - 1}"
    draws = chosen.shape[1]
    for row, known in zip(chosen, shares, strict=True):
        for number, share in enumerate(known):
            count = int((row == number).sum())
            if count and not share:
                return f"output {names[0]!r}: class {number} of share 0 was drawn"
            problem = _within(names[0], count, draws * share, draws, of=shares.size)
            if problem:
                return f"{problem} of class {number}"
    return ""


_QUARTILE = 0.6744897501960817
"""The upper quartile of the standard normal distribution."""


def _drawn(
    name: str,
    operator: str,
    attributes: Mapping[str, float],
    drawn: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> str:
    """A uniform draw lies in its interval; of both kinds, the numbers below the quartiles of the
    distribution lie within Hoeffding's bound, which fixes its place and its width. Quartiles that
    the type cannot tell apart from their neighbours do not occur: the draws are of size one."""
    if not np.isfinite(drawn).all():
        return f"output {name!r}: a draw is not finite"
    if "Uniform" in operator:
        low, high = attributes.get("low", 0.0), attributes.get("high", 1.0)
        if drawn.min() < low or drawn.max() > high:
            return (
                f"output {name!r}: {drawn.min():g} to {drawn.max():g} is not in [{low:g}, {high:g})"
            )
        marks = [low + (high - low) * part for part in (0.25, 0.5, 0.75)]
    else:
        mean, scale = attributes.get("mean", 0.0), attributes.get("scale", 1.0)
        marks = [mean - _QUARTILE * scale, mean, mean + _QUARTILE * scale]
    if len(np.unique(drawn)) < drawn.size // 16:
        return f"output {name!r}: {len(np.unique(drawn))} different values in {drawn.size} draws"
    for mark, part in zip(marks, (0.25, 0.5, 0.75), strict=True):
        # A type of few bits has values at the mark itself: they count half.
        below = float((drawn < mark).sum() + 0.5 * (drawn == mark).sum())
        problem = _within(name, below, part * drawn.size, drawn.size)
        if problem:
            return f"{problem} below {mark:g}"
    return ""


def _attributes(case: Case) -> Mapping[str, float]:
    (node,) = read_model(case.model).graph.nodes
    return {n: a for n, a in node.attributes.items() if isinstance(a, float)}


def _within(name: str, got: float, mean: float, draws: int, of: int = 1) -> str:
    """`of`: how many such figures one result has, which share the chance of a false alarm."""
    bound = math.sqrt(draws / 2 * math.log(2 * of / FALSE_ALARM))
    if abs(got - mean) <= bound:
        return ""
    return (
        f"output {name!r}: {got:g} of {draws} draws, expected {mean:g} ± {bound:.1f} "
        f"(false alarm once in {1 / FALSE_ALARM:g})"
    )


def _numbers(value: Value) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if not isinstance(value, Tensor):
        raise TypeError(f"a random operator's operand is a tensor, not {type(value).__name__}")
    return value.numpy().astype(np.float64).reshape(-1)


def _first_other(drawn: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(drawn[~np.isin(drawn, (0.0, 1.0))][0])
