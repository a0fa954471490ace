"""Cases of older versions. Every input is fed, because IR 3 has initializers among the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.older.drafts import from_one
from hal_conformance.contract.older.table import older
from hal_conformance.contract.tolerance import EXACT, accumulated, composed, elementary

__all__: list[str] = []


@older(
    "the input is taken as a matrix split at axis, which is 1 by default",
    Softmax=(1, 11),
    LogSoftmax=(1, 11),
    Hardmax=(1, 11),
)
def flattened(ask: Ask) -> Iterator[Draft]:
    """By default, and split at the first and the last axis."""

    def result(x: Array, axis: int) -> Array:
        rows = x.reshape(int(np.prod(x.shape[:axis])), -1)
        moved = rows - rows.max(axis=1, keepdims=True)
        log = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
        if ask.name == "Hardmax":
            log = np.eye(rows.shape[1])[rows.argmax(axis=1)]
        return np.asarray((np.exp(log) if ask.name == "Softmax" else log).reshape(x.shape))

    rows: list[tuple[str, int | None]] = [("default", None), ("axis0", 0), ("axis2", 2)]
    if ask.operator.since_version >= 11:
        rows.append(("negative", -2))
    for slug, axis in rows:
        split = 1 if axis is None else axis % 3
        yield from_one(
            ask,
            slug,
            (2, 3, 4),
            lambda x, split=split: result(x, split),  # type: ignore[misc]
            {} if axis is None else {"axis": axis},
            tolerance=EXACT if ask.name == "Hardmax" else composed(ask.element, magnitude=6.0),
            composition=f"f = Flatten <axis = {split}> (x0) m = {ask.name} <axis = -1> (f)"
            " s = Constant <value_ints = [2, 3, 4]> () y0 = Reshape(m, s)",
        )


def _sampled(x: Array, scales: tuple[float, float], mode: str) -> Array:
    """Coordinates are divided by the scale; nearest takes the floor."""
    height, width = (int(n * s) for n, s in zip(x.shape[2:], scales, strict=True))
    y = np.minimum(np.arange(height) / scales[0], x.shape[2] - 1)
    z = np.minimum(np.arange(width) / scales[1], x.shape[3] - 1)
    if mode == "nearest":
        return np.asarray(x[:, :, np.floor(y).astype(int)][:, :, :, np.floor(z).astype(int)])
    top, left = np.floor(y).astype(int), np.floor(z).astype(int)
    below, right = np.minimum(top + 1, x.shape[2] - 1), np.minimum(left + 1, x.shape[3] - 1)
    dy, dz = (y - top)[:, None], z - left
    upper = x[:, :, top][..., left] * (1 - dz) + x[:, :, top][..., right] * dz
    lower = x[:, :, below][..., left] * (1 - dz) + x[:, :, below][..., right] * dz
    return np.asarray(upper * (1 - dy) + lower * dy)


@older(
    "coordinates are asymmetric, and nearest takes the floor",
    Resize=(10,),
    Upsample=(7, 9),
)
def upsampled(ask: Ask) -> Iterator[Draft]:
    """Nearest and linear, by whole factors and another."""
    for slug, mode, scales in (
        ("nearest", "nearest", (2.0, 3.0)),
        ("linear", "linear", (2.0, 2.0)),
        ("nearest-half", "nearest", (1.5, 2.0)),
    ):
        factors = [1.0, 1.0, *scales]
        attributes: dict[str, Any] = {"mode": mode}
        inputs = []
        if ask.operator.since_version == 7:
            attributes["scales"] = factors
        else:
            inputs = [narrow(np.array(factors), ElementType.FLOAT)]
        yield from_one(
            ask,
            slug,
            (1, 2, 2, 4),
            lambda x, s=scales, m=mode: _sampled(x, s, m),  # type: ignore[misc]
            attributes,
            *inputs,
            tolerance=composed(ask.element, magnitude=4.0) if mode == "linear" else EXACT,
            composition=f"s = Constant <value_floats = {factors}> () y0 = Resize "
            f'<mode = "{mode}", coordinate_transformation_mode = "asymmetric",'
            ' nearest_mode = "floor"> (x0, , s)',
        )


@older(
    "axes are an attribute",
    Squeeze=(1, 11),
    Unsqueeze=(1, 11),
    ReduceSum=(1, 11),
    ReduceMean=(1, 11, 13),
    ReduceMax=(1, 11, 12, 13),
    ReduceMin=(1, 13),
    ReduceProd=(1, 13),
    ReduceL2=(1, 13),
    ReduceSumSquare=(1, 13),
)
def axes_attribute(ask: Ask) -> Iterator[Draft]:
    """Given and, for reductions, left out."""
    if ask.name == "Squeeze":
        yield from_one(ask, "axes", (1, 3, 1, 2), lambda x: x.reshape(3, 2), {"axes": [0, 2]})
        yield from_one(ask, "all", (1, 3, 1, 2), lambda x: x.reshape(3, 2), {})
        return
    if ask.name == "Unsqueeze":
        yield from_one(ask, "axes", (3, 2), lambda x: x.reshape(1, 3, 1, 2), {"axes": [0, 2]})
        return
    functions: Mapping[str, Callable[..., Array]] = {
        "ReduceSum": np.sum,
        "ReduceMean": np.mean,
        "ReduceMax": np.max,
        "ReduceMin": np.min,
        "ReduceProd": np.prod,
        "ReduceL2": lambda x, axis, keepdims: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)),
        "ReduceSumSquare": lambda x, axis, keepdims: (x * x).sum(axis=axis, keepdims=keepdims),
    }
    function = functions[ask.name]
    exact = ask.name in ("ReduceMax", "ReduceMin")
    near = EXACT if exact else accumulated(ask.element, terms=24, magnitude=216.0, steps=24)
    if ask.name == "ReduceProd":
        near = accumulated(ask.element, terms=24, magnitude=1.0, steps=24)
    for slug, axes, keep in (("axes", [0, 2], 1), ("dropped", [1], 0), ("all", None, 1)):
        attributes: dict[str, Any] = {"keepdims": keep}
        if axes is not None:
            attributes["axes"] = axes
        yield from_one(
            ask,
            slug,
            (2, 3, 4),
            lambda x, a=axes, k=keep: np.asarray(  # type: ignore[misc]
                function(x, axis=tuple(a) if a else None, keepdims=bool(k))
            ),
            attributes,
            tolerance=near,
        )


@older("the bounds are attributes", Clip=(6,))
def clip(ask: Ask) -> Iterator[Draft]:
    """Both, one, and none of them."""
    yield from_one(ask, "both", (4, 5), lambda x: np.clip(x, -1, 2), {"min": -1.0, "max": 2.0})
    yield from_one(ask, "below", (4, 5), lambda x: np.maximum(x, 0.5), {"min": 0.5})
    yield from_one(ask, "none", (4, 5), lambda x: x, {})


@older("there is no training mode as an input: the values pass", Dropout=(7, 10))
def dropout(ask: Ask) -> Iterator[Draft]:
    """Whatever the ratio is."""
    yield from_one(ask, "passes", (3, 4), lambda x: x, {"ratio": 0.75})


@older("statistics are for inference only", BatchNormalization=(7, 9))
@older("training_mode exists, and its outputs are new", BatchNormalization=(14,))
def batch_norm(ask: Ask) -> Iterator[Draft]:
    """Inference."""
    draw = ask.draw("inference")
    x = draw.tensor(ask.element, (2, 3, 4), -2, 2)
    scale, bias, mean = (draw.tensor(ask.element, (3,), -2, 2) for _ in range(3))
    variance = draw.tensor(ask.element, (3,), 0.5, 2)
    s, b, m, v = (widen(t)[:, None] for t in (scale, bias, mean, variance))
    result = (widen(x) - m) / np.sqrt(v + float(np.float32(1e-5))) * s + b
    yield ask.draft(
        "inference",
        [x, scale, bias, mean, variance],
        [result],
        tolerance=composed(ask.element, magnitude=16.0),
        composition="y0 = BatchNormalization(x0, x1, x2, x3, x4)",
    )


@older("scale and bias are one a group, not one a channel", GroupNormalization=(18,))
def group_norm(ask: Ask) -> Iterator[Draft]:
    """Two groups of three channels."""
    draw = ask.draw("groups")
    x = draw.tensor(ask.element, (2, 6, 4), -2, 2)
    scale, bias = draw.tensor(ask.element, (2,), -2, 2), draw.tensor(ask.element, (2,), -2, 2)
    rows = widen(x).reshape(2, 2, 12)
    centred = rows - rows.mean(axis=2, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=2, keepdims=True) + float(np.float32(1e-5)))
    result = centred / deviation * widen(scale)[:, None] + widen(bias)[:, None]
    yield ask.draft(
        "groups",
        [x, scale, bias],
        [result.reshape(2, 6, 4)],
        attributes={"num_groups": 2},
        tolerance=composed(ask.element, magnitude=8.0),
    )


@older(
    "the second operand is broadcast only on request, aligned at axis",
    Add=(1, 6),
    Sub=(1, 6),
    Mul=(1, 6),
    Div=(1, 6),
    Pow=(1,),
)
def on_request(ask: Ask) -> Iterator[Draft]:
    """By the last axes, and aligned at an axis in the middle."""
    function = {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.divide,
        "Pow": np.power,
    }[ask.name]
    for slug, shape, axis in (("last", (4,), None), ("axis", (3,), 1), ("two", (2, 3), 0)):
        draw = ask.draw(slug)
        low = 0.5 if ask.name == "Pow" else -3
        a = draw.tensor(ask.element, (2, 3, 4), low, 3)
        b = draw.tensor(ask.element, shape, 0.5, 3)
        wide = widen(b)
        if axis is not None:
            wide = wide.reshape(*shape, *[1] * (3 - axis - len(shape)))
        attributes = {"broadcast": 1, **({} if axis is None else {"axis": axis})}
        yield ask.draft(
            slug,
            [a, b],
            [function(widen(a), wide)],
            attributes=attributes,
            tolerance=elementary(ask.element, ask.name),
            composition=f"s = Constant <value_ints = {list(wide.shape)}> () b = Reshape(x1, s)"
            f" y0 = {ask.name}(x0, b)",
        )


@older("C is broadcast only on request", Gemm=(6,))
@older("C is required", Gemm=(7, 9))
def gemm(ask: Ask) -> Iterator[Draft]:
    """A bias for every row."""
    draw = ask.draw("bias")
    a, b = draw.tensor(ask.element, (2, 5), -2, 2), draw.tensor(ask.element, (3, 5), -2, 2)
    c = draw.tensor(ask.element, (3,), -2, 2)
    attributes: dict[str, Any] = {"transB": 1, "alpha": 0.5}
    if ask.operator.since_version == 6:
        attributes["broadcast"] = 1
    yield ask.draft(
        "bias",
        [a, b, c],
        [0.5 * widen(a) @ widen(b).T + widen(c)],
        attributes=attributes,
        tolerance=accumulated(ask.element, terms=6, magnitude=12.0, steps=2, rounded=10.0),
    )


@older("the slope is broadcast from the channels", PRelu=(6,))
def prelu(ask: Ask) -> Iterator[Draft]:
    """One for all channels."""
    draw = ask.draw("shared")
    x, slope = draw.tensor(ask.element, (2, 3, 4), -3, 3), draw.tensor(ask.element, (1,), 0.1, 1)
    wide = widen(x)
    yield ask.draft(
        "shared",
        [x, slope],
        [np.where(wide < 0, wide * widen(slope), wide)],
        tolerance=elementary(ask.element, "Mul"),
    )


@older("pads are never counted", AveragePool=(1,))
@older("ceil_mode and dilations do not exist", AveragePool=(7,), MaxPool=(1, 8))
def pools(ask: Ask) -> Iterator[Draft]:
    """Padded on all sides."""
    x = ask.draw("pads").tensor(ask.element, (1, 2, 3, 4), -3, 3)
    largest = ask.name == "MaxPool"
    edge = -np.inf if largest else np.nan
    padded = np.pad(widen(x), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=edge)
    result = np.zeros((1, 2, 3, 4))
    for i, j in np.ndindex(3, 4):
        window = padded[:, :, i : i + 3, j : j + 3]
        result[:, :, i, j] = window.max((2, 3)) if largest else np.nanmean(window, (2, 3))
    yield ask.draft(
        "pads",
        [x],
        [result],
        attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        composition=f"y0 = {ask.name} <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x0)",
        tolerance=EXACT if largest else composed(ask.element, magnitude=3.0),
    )


@older("the axis is an attribute, 1 by default", DFT=(17,))
def dft(ask: Ask) -> Iterator[Draft]:
    """Forward and back, one-sided, of a length that is no power of two."""
    for slug, length, attributes in (
        ("forward", 8, {}),
        ("onesided", 9, {"onesided": 1}),
        ("inverse", 12, {"inverse": 1}),
    ):
        parts = 2 if slug == "inverse" else 1
        x = ask.draw(slug).tensor(ask.element, (2, length, parts), -1, 1)
        wide = widen(x)
        signal = wide[..., 0] + (1j * wide[..., 1] if parts == 2 else 0)
        turned = np.fft.ifft(signal) if slug == "inverse" else np.fft.fft(signal)
        if slug == "onesided":
            turned = turned[:, : length // 2 + 1]
        near = accumulated(ask.element, terms=length, magnitude=2.0 * length, steps=4, rounded=2.0)
        yield ask.draft(
            slug,
            [x],
            [np.stack([turned.real, turned.imag], axis=-1)],
            attributes={"axis": 1, **attributes},
            tolerance=near,
        )


@older("it counts along axis without select_last_index", ArgMax=(1, 11), ArgMin=(1, 11))
def arg(ask: Ask) -> Iterator[Draft]:
    """The first of two that are alike."""
    values = np.array([[1.0, 3.0, 3.0], [2.0, -1.0, -1.0]])
    function = np.argmax if ask.name == "ArgMax" else np.argmin
    yield ask.draft(
        "ties",
        [narrow(values, ask.element)],
        [function(values, axis=1)],
        outputs=["tensor(int64)"],
        attributes={"axis": 1, "keepdims": 0},
    )


@older("there are no strings among its types, and saturate does not exist", Cast=(6, 9, 13))
def cast(ask: Ask) -> Iterator[Draft]:
    """Fractions are cut off; not a number other than 0 is true."""
    values = np.array([-2.75, -0.5, 0.0, 0.5, 3.25, 100.0])
    for slug, target, result in (
        ("to-int32", ElementType.INT32, np.trunc(values)),
        ("to-bool", ElementType.BOOL, values != 0),
    ):
        yield ask.draft(
            slug,
            [narrow(values, ask.element)],
            [result],
            outputs=[f"tensor({target.onnx_name})"],
            attributes={"to": int(target)},
        )
