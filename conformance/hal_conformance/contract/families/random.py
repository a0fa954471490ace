"""Random operators: judged by statistics (see `hal_conformance.random_outputs`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import narrow, widen

_COUNT = (64, 33)
_STATED: dict[str, Any] = {
    "judge": "statistics",
    "oracle": "none",
    "reason": "the standard fixes no generator",
}


@generates("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike")
def drawn(ask: Ask) -> Iterator[Draft]:
    """The default distribution and another, by the attribute's type and by the input's."""
    normal = "Normal" in ask.name
    other = {"mean": 3.0, "scale": 0.5} if normal else {"low": -1.0, "high": 3.0}
    below = {"mean": -2.5, "scale": 1.25} if normal else {"low": -4.5, "high": -1.25}
    like = ask.name.endswith("Like")
    kind = ask.element
    floats = ask.types("T2") if like else ask.types("T")
    for slug, attributes in (("default", {}), ("stated", other), ("negative", below)):
        settings: dict[str, Any] = {**attributes, "seed": 7.0}
        inputs = []
        output = ask.type
        if like:
            source = ask.element if ask.constraint == "T1" else ElementType.FLOAT
            inputs.append(ask.draw(slug).tensor(source, _COUNT))
            if ask.constraint == "T2" or ask.type not in floats:
                output = ask.type if ask.constraint == "T2" else "tensor(float)"
                settings["dtype"] = int(ElementType.from_onnx_name(output[7:-1]))
        else:
            settings |= {"shape": list(_COUNT), "dtype": int(kind)}
        yield ask.draft(
            slug,
            inputs,
            [np.zeros(_COUNT)],
            outputs=(output,),
            attributes=settings,
            **_STATED,
        )


@generates("RandomNormal", "RandomUniform")
def drawn_by_default(ask: Ask) -> Iterator[Draft]:
    """Float where no type is stated."""
    if ask.full:
        attributes: dict[str, Any] = {"shape": list(_COUNT), "seed": 7.0}
        yield ask.draft("plain", [], [np.zeros(_COUNT)], attributes=attributes, **_STATED)


@generates("Multinomial")
def multinomial(ask: Ask) -> Iterator[Draft]:
    """Classes of unequal shares, one of them none, from logarithms that are not normalised; one
    draw into int32 by default."""
    source = ask.element if ask.constraint == "T1" else ElementType.FLOAT
    shares = [[0.125, 0.0, 0.125, 0.75], [0.625, 0.25, 0.125, 0.0], [0.25, 0.5, 0.0, 0.25]]
    with np.errstate(divide="ignore"):
        x = narrow(np.log(np.array(shares)) + np.array([[0.0], [1.5], [-1.0]]), source)
    target = ask.element if ask.constraint == "T2" else ElementType.INT32
    count = 4099
    attributes = {"sample_size": count, "dtype": int(target), "seed": 5.0}
    yield ask.draft(
        "shares",
        [x],
        [np.zeros((3, count), np.int64)],
        outputs=(f"tensor({target.onnx_name})",),
        attributes=attributes,
        **_STATED,
    )
    if ask.full and ask.first:
        yield ask.draft(
            "default", [x], [np.zeros((3, 1), np.int64)], outputs=("tensor(int32)",), **_STATED
        )


@generates("Bernoulli")
def bernoulli(ask: Ask) -> Iterator[Draft]:
    """Probabilities of none, one and between, into every type."""
    source = ask.element if ask.constraint == "T1" else ElementType.FLOAT
    target = ask.element
    values = ask.draw("values").floats(_COUNT, 0, 1)
    values[0], values[1] = 0.0, 1.0
    values[:, -2], values[:, -1] = 0.0, 1.0
    values[-2], values[-1] = 0.0, 1.0
    attributes: dict[str, Any] = {"seed": 3.0}
    if ask.constraint == "T2":
        attributes["dtype"] = int(target)
    yield ask.draft(
        "values",
        [narrow(values, source)],
        [np.zeros(_COUNT)],
        attributes=attributes,
        **_STATED,
    )


@generates("Dropout")
def dropout(ask: Ask) -> Iterator[Draft]:
    """Inference hands on its input, whatever the ratio; training with a ratio of zero as well."""
    if ask.constraint == "T2":
        return
    data = ask.element if ask.constraint == "T" else ElementType.FLOAT
    ratio = ask.element if ask.constraint == "T1" else ElementType.FLOAT
    if ask.constraint == "T1" and not _has(ratio):
        return
    x = ask.draw("inference").tensor(data, (3, 4, 5))
    wide = widen(x)
    half, none = narrow(np.array(0.5), ratio), narrow(np.array(0.0), ratio)
    true, false = (narrow(np.array(v), ElementType.BOOL) for v in (True, False))
    outputs = (f"tensor({data.onnx_name})", "tensor(bool)")
    mask = np.ones(wide.shape, bool)
    for slug, inputs in (
        ("inference", [x, half, false]),
        ("default", [x]),
        ("ratio-zero", [x, none, true]),
    ):
        if ask.constraint == "T1" and slug == "default":
            continue
        yield ask.draft(slug, inputs, [wide, mask], outputs=outputs, oracle="native")
    if ask.full and ask.first:
        ones = narrow(ask.draw("training").floats(_COUNT, 1, 2), data)
        quarter = narrow(np.array(0.25), ratio)
        expected = [np.zeros(_COUNT), np.zeros(_COUNT, bool)]
        yield ask.draft("training", [ones, quarter, true], expected, outputs=outputs, **_STATED)


def _has(element: ElementType) -> bool:
    return element is not ElementType.FLOAT8E8M0
