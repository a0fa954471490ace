"""ai.onnx.ml: scalers, encoders, maps and linear models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, MapValue, SequenceValue
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import epsilon, is_float, narrow, widen
from hal_conformance.contract.tolerance import EXACT, accumulated, composed, elementary

_FLOAT = "tensor(float)"
_ML = "ai.onnx.ml::"


@generates(_ML + "Binarizer")
def binarizer(ask: Ask) -> Iterator[Draft]:
    """Values below, at and above the threshold."""
    for threshold in (0.0, 1.0, -2.0, 1.5):
        given = np.array([[-3, -2, 0], [1, 2, 100]], np.float64)
        if is_float(ask.element) and threshold:  # next to it, by the last digit
            given[0, 0] = threshold * (1 + np.sign(threshold) * epsilon(ask.element))
        x = narrow(given, ask.element)
        expected = (widen(x) > threshold).astype(np.int64)
        attributes = {"threshold": threshold}
        yield ask.draft(f"threshold{threshold:g}", [x], [expected], attributes=attributes)


@generates(_ML + "ArrayFeatureExtractor")
def array_feature_extractor(ask: Ask) -> Iterator[Draft]:
    """Columns of a matrix, repeated and out of order."""
    for slug, shape, picks in (("matrix", (3, 5), [4, 0, 0]), ("one", (2, 3), [1])):
        x = ask.draw(slug).tensor(ask.element, shape, -9, 9)
        expected = widen(x)[..., picks]
        yield ask.draft(slug, [x, int64s(picks)], [expected], oracle="native")


@generates(_ML + "FeatureVectorizer")
def feature_vectorizer(ask: Ask) -> Iterator[Draft]:
    """Matrices of different widths side by side."""
    draw = ask.draw("several")
    xs = [draw.tensor(ask.element, (2, width), -9, 9) for width in (3, 1, 2)]
    expected = np.concatenate([widen(x) for x in xs], axis=1)
    yield ask.draft(
        "several",
        xs,
        [expected],
        outputs=(_FLOAT,),
        attributes={"inputdimensions": [3, 1, 2]},
        tolerance=elementary(ElementType.FLOAT, "Add"),
    )


@generates(_ML + "Imputer")
def imputer(ask: Ask) -> Iterator[Draft]:
    """One value for all columns and one for each; NaN as what is missing."""
    real = is_float(ask.element)
    suffix, plural = ("float", "floats") if real else ("int64", "int64s")
    for slug, values in (("one", [7]), ("columns", [7, 8, 9])):
        x = narrow(np.array([[1, -1, 3], [-1, 5, -1]]), ask.element)
        wide = widen(x)
        expected = np.where(wide == -1, np.array(values), wide)
        attributes = {
            f"imputed_value_{plural}": [float(v) for v in values] if real else values,
            f"replaced_value_{suffix}": -1.0 if real else -1,
        }
        yield ask.draft(slug, [x], [expected], attributes=attributes)
    if real:
        x = narrow(np.array([[1.25, -1.25, 1.0], [-1.0, 5.5, -1.25]]), ask.element)
        expected = np.where(widen(x) == -1.25, [0.5, -2.5, 8.0], widen(x))
        attributes = {"imputed_value_floats": [0.5, -2.5, 8.0], "replaced_value_float": -1.25}
        yield ask.draft("fractions", [x], [expected], attributes=attributes)
    if real:
        x = narrow(np.array([[1.0, np.nan], [np.nan, 2.0]]), ask.element)
        attributes = {"imputed_value_floats": [5.0], "replaced_value_float": float("nan")}
        yield ask.draft("nan", [x], [np.array([[1.0, 5.0], [5.0, 2.0]])], attributes=attributes)


@generates(_ML + "Scaler")
def scaler(ask: Ask) -> Iterator[Draft]:
    """One offset and scale for all columns and one for each."""
    for slug, offset, scale in (
        ("one", [0.5], [2.0]),
        ("columns", [1.0, 0.5, -2.0], [2.0, 0.25, -1.0]),
    ):
        x = ask.draw(slug).tensor(ask.element, (4, 3), -9, 9)
        expected = (widen(x) - np.array(offset)) * np.array(scale)
        yield ask.draft(
            slug,
            [x],
            [expected],
            outputs=(_FLOAT,),
            attributes={"offset": offset, "scale": scale},
            tolerance=elementary(ElementType.FLOAT, "Mul", absolute=24.0),
            oracle="widened" if is_float(ask.element) else "none",
            reason="onnx 1.23.2's evaluator scales integers by integers",
        )


@generates(_ML + "Normalizer")
def normalizer(ask: Ask) -> Iterator[Draft]:
    """Each norm by rows; positive numbers, for signs the standard's formulas leave open."""
    for norm in ("MAX", "L1", "L2"):
        x = ask.draw(norm).tensor(ask.element, (3, 4), 1, 9)
        wide = widen(x).astype(np.float64)
        divisor = {
            "MAX": wide.max(axis=1, keepdims=True),
            "L1": wide.sum(axis=1, keepdims=True),
            "L2": np.sqrt((wide * wide).sum(axis=1, keepdims=True)),
        }[norm]
        yield ask.draft(
            norm.lower(),
            [x],
            [wide / divisor],
            outputs=(_FLOAT,),
            attributes={"norm": norm},
            tolerance=composed(ElementType.FLOAT),
        )


@generates(_ML + "LinearRegressor")
def linear_regressor(ask: Ask) -> Iterator[Draft]:
    """One target and two, with and without intercepts."""
    for slug, targets, intercepts in (
        ("one", 1, [0.5]),
        ("two", 2, [0.5, -1.0]),
        ("bare", 1, None),
    ):
        x = ask.draw(slug).tensor(ask.element, (4, 3), -9, 9)
        weights = np.array([0.5, -1.25, 2.0, 0.75, 1.5, -0.25][: 3 * targets]).reshape(targets, 3)
        expected = widen(x) @ weights.T + (0 if intercepts is None else np.array(intercepts))
        attributes: dict[str, Any] = {"coefficients": weights.ravel().tolist()}
        if targets > 1:
            attributes["targets"] = targets
        if intercepts is not None:
            attributes["intercepts"] = intercepts
        yield ask.draft(
            slug,
            [x],
            [expected],
            outputs=(_FLOAT,),
            attributes=attributes,
            tolerance=accumulated(ElementType.FLOAT, terms=4, magnitude=40.0),
            oracle="widened" if is_float(ask.element) and intercepts is not None else "none",
            reason="onnx 1.23.2's evaluator cuts coefficients off, and takes no intercept for NaN",
        )


_SAMPLES: dict[ElementType, list[Any]] = {
    ElementType.STRING: ["a", "", "naïve"],
    ElementType.DOUBLE: [0.5, -2.25, 1e10],
    ElementType.FLOAT: [0.5, -2.25, 1e10],
    ElementType.INT64: [-(2**40), 0, 7],
    ElementType.INT32: [-7, 0, 2**30],
    ElementType.INT16: [-7, 0, 300],
}
_OTHERS: dict[ElementType, Any] = {ElementType.STRING: "none"}


@generates(_ML + "LabelEncoder")
def label_encoder(ask: Ask) -> Iterator[Draft]:
    """Keys that are there, repeated and missing, into strings, integers and reals."""
    if ask.constraint == "T1":
        pairs = [(ask.element, ask.element)]
        if ask.element is not ElementType.STRING:
            pairs.append((ask.element, ElementType.STRING))
    else:
        pairs = [(ElementType.INT64, ask.element)]
    for source, target in pairs:
        keys, values = _SAMPLES[source], _SAMPLES[target]
        default = _OTHERS.get(target, 99)
        missing = "?" if source is ElementType.STRING else 5
        texts = source is ElementType.STRING
        given = np.array([[keys[0], keys[2]], [missing, keys[0]]], dtype=object if texts else None)
        kind = object if target is ElementType.STRING else None
        table = dict(zip(keys, values, strict=True))
        expected = np.array([[table.get(v, default) for v in row] for row in given.tolist()], kind)
        attributes = {
            "keys_tensor": narrow(np.array(keys, object if texts else None), source),
            "values_tensor": narrow(np.array(values, kind), target),
            "default_tensor": narrow(np.array([default], kind), target),
        }
        yield ask.draft(
            f"to-{target.onnx_name}",
            [narrow(given, source)],
            [expected],
            outputs=(f"tensor({target.onnx_name})",),
            attributes=attributes,
            oracle="native",
        )


_PLAIN = {ElementType.STRING: "string", ElementType.INT64: "int64", ElementType.FLOAT: "float"}


@generates(_ML + "LabelEncoder")
def listed_labels(ask: Ask) -> Iterator[Draft]:
    """Keys and values as lists; what is missing becomes a fraction below zero, or the default."""
    if not ask.first or ask.element not in _PLAIN:
        return
    for target, kind in _PLAIN.items():
        if kind == _PLAIN[ask.element]:
            continue
        keys, values = _SAMPLES[ask.element], _SAMPLES[target]
        texts = ask.element is ElementType.STRING
        missing = "?" if texts else 5
        for named in (True, False):
            other: Any = {"string": "none", "int64": -9, "float": -1.5}[kind]
            default: Any = {"string": "_Unused", "int64": -1, "float": -0.0}[kind]
            table = dict(zip(keys, values, strict=True))
            given = np.array([keys[2], missing, keys[0], keys[1]], object if texts else None)
            found = [table.get(v, other if named else default) for v in given.tolist()]
            yield ask.draft(
                f"lists-to-{target.onnx_name}" + ("" if named else "-default"),
                [narrow(given, ask.element)],
                [np.array(found, object if kind == "string" else None)],
                outputs=(f"tensor({target.onnx_name})",),
                attributes={
                    f"keys_{_PLAIN[ask.element]}s": keys,
                    f"values_{kind}s": values,
                    **({f"default_{kind}": other} if named else {}),
                },
                oracle="native",
            )


@generates(_ML + "LinearRegressor")
def transformed_targets(ask: Ask) -> Iterator[Draft]:
    """Each transformation of three targets."""
    if ask.element is not ElementType.FLOAT:
        return
    for transform in ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
        x = ask.draw(transform).tensor(ask.element, (4, 2), -2, 2)
        weights = np.array([0.5, -1.25, 1.0, 0.75, -0.5, 0.25]).reshape(3, 2)
        raw = widen(x) @ weights.T + np.array([0.5, -1.0, 0.25])
        powers = np.exp(raw - raw.max(1, keepdims=True))
        shares = powers / powers.sum(1, keepdims=True)
        yield ask.draft(
            transform.lower().replace("_", "-"),
            [x],
            [1 / (1 + np.exp(-raw)) if transform == "LOGISTIC" else shares],
            outputs=(_FLOAT,),
            attributes={
                "coefficients": weights.ravel().tolist(),
                "intercepts": [0.5, -1.0, 0.25],
                "targets": 3,
                "post_transform": transform,
            },
            tolerance=composed(ElementType.FLOAT, magnitude=1.0),
        )


@generates(_ML + "CategoryMapper")
def category_mapper(ask: Ask) -> Iterator[Draft]:
    """Strings to integers and back, known and unknown."""
    if not ask.first:
        return
    table: dict[str, Any] = {"cats_strings": ["a", "b", ""], "cats_int64s": [3, -1, 2**40]}
    if ask.element is ElementType.STRING:
        given = np.array([["b", "?"], ["", "a"]], dtype=object)
        expected = np.array([[-1, 77], [2**40, 3]])
        attributes, output = {**table, "default_int64": 77}, "tensor(int64)"
    else:
        given = np.array([[-1, 5], [2**40, 3]])
        expected = np.array([["b", "none"], ["", "a"]], dtype=object)
        attributes, output = {**table, "default_string": "none"}, "tensor(string)"
    x = narrow(given, ask.element)
    yield ask.draft(
        "known", [x], [expected], outputs=(output,), attributes=attributes, oracle="native"
    )


@generates(_ML + "OneHotEncoder")
def one_hot_encoder(ask: Ask) -> Iterator[Draft]:
    """Known categories, and unknown ones that leave a row of zeros."""
    if ask.element is ElementType.STRING:
        given = np.array(["b", "a", "?"], dtype=object)
        attributes: dict[str, Any] = {"cats_strings": ["a", "b", "c"], "zeros": 1}
        hot = [1, 0, None]
    else:
        given = np.array([7, 2, 5])
        attributes = {"cats_int64s": [2, 3, 7], "zeros": 1}
        hot = [2, 0, None]
    expected = np.array([[float(i == h) for i in range(3)] for h in hot])
    x = narrow(given, ask.element)
    yield ask.draft(
        "known", [x], [expected], outputs=(_FLOAT,), attributes=attributes, oracle="native"
    )


@generates(_ML + "DictVectorizer")
def dict_vectorizer(ask: Ask) -> Iterator[Draft]:
    """Keys in another order than the vocabulary; absent ones give zero."""
    if not ask.first:
        return
    key, value = (ElementType.from_onnx_name(t.strip()) for t in ask.type[4:-1].split(","))
    text = key is ElementType.STRING
    words: list[Any] = ["a", "b", "c"] if text else [10, 20, 30]
    items: list[Any] = ["x", "y"] if value is ElementType.STRING else [5, -3]
    kind = object if value is ElementType.STRING else None
    keys = narrow(np.array([words[2], words[0]], object if text else None), key)
    x = MapValue(_model_type(ask.type), keys, narrow(np.array(items, kind), value))
    nothing: Any = "" if value is ElementType.STRING else 0
    expected = np.array([[items[1], nothing, items[0]]], kind)
    name = "string_vocabulary" if text else "int64_vocabulary"
    yield ask.draft(
        "keys",
        [x],
        [expected],
        outputs=(f"tensor({value.onnx_name})",),
        attributes={name: words},
        oracle="none",
        reason="onnx 1.23.2's evaluator has no shape for the result that the standard states",
    )


@generates(_ML + "CastMap")
def cast_map(ask: Ask) -> Iterator[Draft]:
    """Dense and sparse, into each type; the values stand in the order of their keys."""
    if not ask.first:
        return
    text = "string" in ask.type
    keys = narrow(np.array([4, 1, 2]), ElementType.INT64)
    plain: list[Any] = ["4", "1", "2"] if text else [4.0, 1.0, 2.0]
    element = ElementType.STRING if text else ElementType.FLOAT
    x = MapValue(
        _model_type(ask.type), keys, narrow(np.array(plain, object if text else None), element)
    )
    for form, places in (("DENSE", [1, 2, 4]), ("SPARSE", [0, 1, 2, 0, 4, 0])):
        for target in ("FLOAT", "INT64", "STRING"):
            if (target == "STRING") and not text:
                continue  # how a real number is written is not stated
            if text and form == "SPARSE" and target == "STRING":
                continue  # nor what string stands for nothing
            values = [str(v) for v in places] if target == "STRING" else places
            expected = np.array([values], object if target == "STRING" else None)
            yield ask.draft(
                f"{form.lower()}-to-{target.lower()}",
                [x],
                [expected],
                outputs=(f"tensor({target.lower()})",),
                attributes={"cast_to": f"TO_{target}", "map_form": form, "max_map": 6},
                oracle="none",
                reason="onnx 1.23.2's evaluator has no CastMap",
            )


@generates(_ML + "ZipMap")
def zip_map(ask: Ask) -> Iterator[Draft]:
    """A map a row, keyed by strings and by integers."""
    text = "string" in ask.type
    keys: list[Any] = ["a", "", "b"] if text else [3, -1, 7]
    x = ask.draw("rows").tensor(ElementType.FLOAT, (2, 3), -3, 3)
    kind = ElementType.STRING if text else ElementType.INT64
    labels = narrow(np.array(keys, object if text else None), kind)
    sequence = _model_type(ask.type)
    inner = sequence[len("seq(") : -1]
    maps = tuple(MapValue(inner, labels, narrow(row, ElementType.FLOAT)) for row in widen(x))
    yield ask.draft(
        "rows",
        [x],
        [SequenceValue(sequence, maps)],
        outputs=(sequence,),
        attributes={"classlabels_strings" if text else "classlabels_int64s": keys},
        tolerance=EXACT,
        oracle="none",
        reason="onnx 1.23.2's evaluator has no ZipMap",
    )


def _model_type(type_: str) -> str:
    """A map's type as a model states it: schemas leave out that its values are tensors."""
    return re.sub(r"map\((\w+), (\w+)\)", r"map(\1, tensor(\2))", type_)
