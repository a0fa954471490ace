"""ai.onnx.ml once more: every digit, what is infinite, defaults, more rows, and other ranks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, MapValue, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, is_float, largest, narrow, widen
from hal_conformance.contract.tolerance import composed, elementary

_FLOAT = "tensor(float)"
_F = ElementType.FLOAT
_ML = "ai.onnx.ml::"
_CLOSE: dict[ElementType, list[Any]] = {
    ElementType.INT64: [5, 2**40 + 5, 2**53, 2**53 + 1, 70000],
    ElementType.INT32: [5, 2**16 + 5, 2**24, 2**24 + 1, 2**30],
    ElementType.INT16: [5, 2**8 + 5, 300, 301, 2**14],
    ElementType.DOUBLE: [1.0, 1 + 2.0**-40, 2.0**53, -2.0, 2.0**53 + 2],
    ElementType.FLOAT: [1.0, 1 + 2.0**-20, 2.0**24, -2.0, 2.0**24 + 2],
}
"""Numbers that fall together in any narrower type."""


def _wide(ask: Ask, shape: tuple[int, ...]) -> Array:
    """Integers that take more bits than the next narrower type has, and that float holds."""
    small = ask.draw("wide").integers(shape, 1, 9)
    return small * (2**40 if ask.element is ElementType.INT64 else 2**16)


@generates(_ML + "ArrayFeatureExtractor")
def table_of_indices(ask: Ask) -> Iterator[Draft]:
    """Indices in two rows, which are taken one after the other."""
    x = ask.draw("table").tensor(ask.element, (3, 5), -9, 9)
    y = int64s([[4, 0], [2, 1]])  # type: ignore[list-item]
    if ask.full:
        yield ask.draft("table", [x, y], [widen(x)[..., [4, 0, 2, 1]]], oracle="native")


@generates(_ML + "Binarizer")
def default_threshold(ask: Ask) -> Iterator[Draft]:
    """Zero by default; integers of many bits, fractions."""
    real = is_float(ask.element)
    rest = [0.125, 0.5, 3.0] if real else _wide(ask, (3,)).tolist()
    x = narrow(np.array([[-1, 0, 1], rest]), ask.element)
    yield ask.draft("default", [x], [(widen(x) > 0).astype(np.int64)])
    if real:
        x = narrow(np.array([[1.0, 1.25, 1.5], [1.75, -1.25, 0.0]]), ask.element)
        expected = (widen(x) > 1.5).astype(np.int64)
        yield ask.draft("fraction", [x], [expected], attributes={"threshold": 1.5})


@generates(_ML + "CastMap")
def long_map(ask: Ask) -> Iterator[Draft]:
    """Nineteen numbers of many digits; the total length that is the default."""
    if not ask.first or "string" in ask.type:
        return
    type_ = "map(int64, tensor(float))"
    numbers = ask.draw("long").tensor(_F, (19,), -9, 9)
    order = np.array(ask.draw("long").order(19))
    x = MapValue(type_, int64s(order.tolist()), numbers)
    settings: dict[str, Any] = {
        "outputs": (_FLOAT,),
        "oracle": "none",
        "reason": "onnx 1.23.2's evaluator has no CastMap",
    }
    yield ask.draft("long", [x], [widen(numbers)[np.argsort(order)][None]], **settings)
    none = MapValue(type_, int64s([]), narrow(np.zeros(0), _F))
    yield ask.draft("nothing", [none], [np.zeros((1, 0))], **settings)
    one = MapValue(type_, int64s([0]), narrow(np.array([2.5]), _F))
    attributes = {"map_form": "SPARSE"}
    yield ask.draft("sparse-default", [one], [np.array([[2.5]])], attributes=attributes, **settings)


@generates(_ML + "CategoryMapper")
def close_categories(ask: Ask) -> Iterator[Draft]:
    """Integers that fall together as reals; what is no category by default."""
    if not ask.first:
        return
    names = ["a", "", "c", "d", "e"]
    numbers = [0, *_CLOSE[ElementType.INT64][1:]]
    table = dict(zip(names, numbers, strict=True))
    text = ask.element is ElementType.STRING
    runs = []
    for row in (["c", "?", "d"], ["a", "c", ""]):
        known = [table.get(name, 6) for name in row]
        found = [table.get(name, -1) for name in row]
        shown = [name if name in table else "_Unused" for name in row]
        x = narrow(np.array(row, object), ask.element) if text else int64s(known)
        runs.append(Run((x,), (np.array(found) if text else np.array(shown, object),)))
    yield Draft(
        slug="close",
        runs=tuple(runs),
        outputs=("tensor(int64)" if text else "tensor(string)",),
        attributes={"cats_strings": names, "cats_int64s": numbers},
        oracle="native",
    )


@generates(_ML + "DictVectorizer")
def long_vocabulary(ask: Ask) -> Iterator[Draft]:
    """Nineteen words, of which some have numbers of many digits."""
    if not ask.first or "string)" in ask.type.replace(" ", ""):
        return
    key, value = (ElementType.from_onnx_name(t.strip()) for t in ask.type[4:-1].split(","))
    text = key is ElementType.STRING
    words: list[Any] = [f"w{i}" for i in range(19)] if text else list(range(19))
    chosen = [18, 3, 0, 7, 16]
    numbers = ask.draw("long").tensor(value, (5,), 1, 9)
    expected = np.zeros((1, 19))
    expected[0, chosen] = widen(numbers)
    keys = np.array([words[i] for i in chosen], object if text else None)
    name = "string_vocabulary" if text else "int64_vocabulary"
    yield ask.draft(
        "long",
        [MapValue(f"map({key.onnx_name}, tensor({value.onnx_name}))", narrow(keys, key), numbers)],
        [expected],
        outputs=(f"tensor({value.onnx_name})",),
        attributes={name: words},
        oracle="none",
        reason="onnx 1.23.2's evaluator has no shape for the result that the standard states",
    )


@generates(_ML + "FeatureVectorizer")
def wide_features(ask: Ask) -> Iterator[Draft]:
    """Fifteen numbers, integers of many bits among them."""
    xs = [ask.draw("wide").tensor(ask.element, (3, n), -9, 9) for n in (2, 3)]
    if not is_float(ask.element):
        xs[1] = narrow(_wide(ask, (3, 3)), ask.element)
    yield ask.draft(
        "wide",
        xs,
        [np.concatenate([widen(x) for x in xs], axis=1)],
        outputs=(_FLOAT,),
        attributes={"inputdimensions": [2, 3]},
        tolerance=elementary(_F, "Add"),
    )


@generates(_ML + "Imputer")
def kept_numbers(ask: Ask) -> Iterator[Draft]:
    """Zero is what is missing by default; everything else stays as it is; five dimensions."""
    real = is_float(ask.element)
    plural = "floats" if real else "int64s"
    kept = [0.25, 1.2345678, np.inf, -np.inf, np.nan] if real else [1, 2, -1, 2**30 + 1, -(2**30)]
    x = narrow(np.array([[*kept, 0], [0, *kept]]), ask.element)
    for slug, given in (("kept", x), ("of-rank5", _reshaped(x, (1, 6, 1, 2, 1)))):
        wide = widen(given)
        yield ask.draft(
            slug,
            [given],
            [np.where(wide == 0, wide.dtype.type(7), wide)],
            attributes={f"imputed_value_{plural}": [7.0 if real else 7]},
            oracle="native" if slug == "kept" else "none",
            reason="onnx 1.23.2's evaluator takes matrices only",
        )


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return Tensor.from_numpy(tensor.bits().reshape(shape), tensor.element_type)


@generates(_ML + "LabelEncoder")
def close_labels(ask: Ask) -> Iterator[Draft]:
    """Keys that fall together in a narrower type; infinity, and NaN, which is none of them."""
    if ask.constraint != "T1" or ask.element not in _CLOSE:
        return
    keys = _CLOSE[ask.element]
    rows = [("close", keys, keys[::-1])]
    if is_float(ask.element):
        top = largest(ask.element)
        special = [0.0, np.inf, -np.inf, top, -top]
        rows.append(("special", special, [np.nan, *special[::-1]]))
    for slug, listed, given in rows:
        table = dict(zip(listed, range(5), strict=True))
        yield ask.draft(
            slug,
            [narrow(np.array(given), ask.element)],
            [np.array([table.get(v, 99) for v in given])],
            outputs=("tensor(int64)",),
            attributes={
                "keys_tensor": narrow(np.array(listed), ask.element),
                "values_tensor": int64s(list(range(5))),
                "default_tensor": int64s([99]),
            },
            oracle="native",
        )


@generates(_ML + "LinearRegressor")
def wide_targets(ask: Ask) -> Iterator[Draft]:
    """Twenty-one results without intercepts: of integers of many bits, then of zeros."""
    weights = np.array([0.5, -1.25, 1.0, 0.75, -0.5, 0.25]).reshape(3, 2)
    x = ask.draw("rows").tensor(ask.element, (7, 2), -9, 9)
    if not is_float(ask.element):
        x = narrow(_wide(ask, (7, 2)), ask.element)
    none = narrow(np.zeros((7, 2)), ask.element)
    most = float(np.abs(widen(x)).max()) * 2
    yield Draft(
        slug="rows",
        runs=tuple(Run((v,), (widen(v) @ weights.T,)) for v in (x, none)),
        outputs=(_FLOAT,),
        attributes={"coefficients": weights.ravel().tolist(), "targets": 3},
        tolerance=composed(_F, magnitude=most),
        oracle="none",
        reason="onnx 1.23.2's evaluator cuts coefficients off, and takes no intercept for NaN",
    )
    if ask.full:
        x = narrow(np.array([[0.25, 0.5], [0.75, 0.125]]), ask.element)
        weights, other = np.array([[0.5, 0.25], [0.25, 1.0]]), [0.125, 0.0625]
        yield ask.draft(
            "probit",
            [x],
            [probit(widen(x) @ weights.T + other)],
            outputs=(_FLOAT,),
            attributes={
                "coefficients": weights.ravel().tolist(),
                "intercepts": other,
                "targets": 2,
                "post_transform": "PROBIT",
            },
            tolerance=composed(_F, magnitude=4.0),
            oracle="none",
            reason="onnx 1.23.2's evaluator has no PROBIT of targets",
        )


def probit(p: Array) -> Array:
    """The inverse of the normal distribution, by the approximation of erf that ONNX's evaluator has
    for it in classifiers (S. Winitzki, 2008)."""
    x = 2 * p - 1
    log = np.log1p(-x * x)
    v = 2 / (np.pi * 0.147) + log / 2
    return np.asarray(1.41421356 * np.sign(x) * np.sqrt(np.sqrt(v * v - log / 0.147) - v))


@generates(_ML + "LinearClassifier")
def wide_classes(ask: Ask) -> Iterator[Draft]:
    """Scores of which other ones are zero each time; integers of many bits; PROBIT."""
    if not ask.first:
        return
    labels = [7, -2, 40]
    weights = np.array([[0.5, -0.5], [1.0, 0.25], [0.25, 2.0]])
    first = np.array([[1, 1], [1, 2], [3, 3]]) if is_float(ask.element) else _wide(ask, (3, 2))
    second = np.array([[3, 1], [2, 2], [1, 3]])
    runs = []
    for values in (first, second):
        scores = values @ weights.T
        chosen = np.array([labels[i] for i in scores.argmax(1)])
        runs.append(Run((narrow(values, ask.element),), (chosen, scores)))
    yield Draft(
        slug="rows",
        runs=tuple(runs),
        outputs=("tensor(int64)", _FLOAT),
        attributes={
            "coefficients": weights.ravel().tolist(),
            "intercepts": [0.0, 0.0, 0.0],
            "classlabels_ints": labels,
        },
        tolerance=composed(_F, magnitude=float(first.max()) * 2),
        oracle="native" if is_float(ask.element) else "none",
        reason="onnx 1.23.2's evaluator computes on integers as integers",
    )
    if ask.full:
        x = narrow(np.array([[0.25, 0.5], [0.75, 0.125]]), ask.element)
        yield ask.draft(
            "probit",
            [x],
            outputs=("tensor(int64)", _FLOAT),
            attributes={
                "coefficients": [0.5, 0.25, 0.25, 1.0, 0.25, 0.75],
                "intercepts": [0.125, 0.0625, 0.25],
                "classlabels_ints": labels,
                "post_transform": "PROBIT",
            },
            tolerance=composed(_F, magnitude=4.0),
            oracle="native",
        )


@generates(_ML + "Normalizer")
def wide_rows(ask: Ask) -> Iterator[Draft]:
    """The largest number by default; integers of many bits; beside infinity nothing is left."""
    values = ask.draw("default").floats((3, 5), 1, 9)
    x = narrow(values if is_float(ask.element) else _wide(ask, (3, 5)), ask.element)
    wide = widen(x).astype(np.float64)
    yield ask.draft(
        "default",
        [x],
        [wide / wide.max(1, keepdims=True)],
        outputs=(_FLOAT,),
        tolerance=composed(_F),
    )
    if is_float(ask.element):
        x = narrow(np.array([[1.0, np.inf, 2.0], [1.0, 2.0, 5.0]]), ask.element)
        expected = [[0.0, np.nan, 0.0], [0.125, 0.25, 0.625]]
        yield ask.draft(
            "infinite",
            [x],
            [np.array(expected)],
            outputs=(_FLOAT,),
            attributes={"norm": "L1"},
            tolerance=composed(_F),
        )


@generates(_ML + "OneHotEncoder")
def close_rows(ask: Ask) -> Iterator[Draft]:
    """Categories in two rows, that fall together in a narrower type."""
    if ask.element is ElementType.STRING:
        return
    whole = {ElementType.FLOAT: [5, 2049, 2048, 4097, 4096], ElementType.DOUBLE: [5, 2**24 + 1]}
    cats = whole.get(ask.element) or _CLOSE[ask.element]
    picks = np.resize(np.array([1, 0, 2, 3, 4]) % len(cats), (2, 5))
    picks[1] = picks[1][::-1]
    x = narrow(np.array(cats)[picks], ask.element)
    expected = (picks[..., None] == np.arange(len(cats))).astype(float)
    yield ask.draft(
        "rows",
        [x],
        [expected],
        outputs=(_FLOAT,),
        attributes={"cats_int64s": cats},
        oracle="native",
    )


@generates(_ML + "Scaler")
def wide_scales(ask: Ask) -> Iterator[Draft]:
    """Fifteen results: of integers of many bits, of infinity, and zeros."""
    scale = np.array([2.0, 0.25, -1.0])
    x = ask.draw("rows").tensor(ask.element, (5, 3), -9, 9)
    if is_float(ask.element):
        wide = widen(x)
        wide[1, 1], wide[2, 2] = np.inf, -np.inf
        x = narrow(wide, ask.element)
    else:
        x = narrow(_wide(ask, (5, 3)), ask.element)
    none = narrow(np.full((5, 3), 1), ask.element)
    yield Draft(
        slug="rows",
        runs=tuple(Run((v,), ((widen(v) - 1.0) * scale,)) for v in (x, none)),
        outputs=(_FLOAT,),
        attributes={"offset": [1.0] * 3, "scale": scale.tolist()},
        tolerance=elementary(_F, "Mul", absolute=24.0),
        oracle="widened" if is_float(ask.element) else "none",
        reason="onnx 1.23.2's evaluator scales integers by integers",
    )
