"""Normalisations: over the last axes, over channels, over a neighbourhood, by a norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import Tolerance, composed

_EPSILON = float(np.float32(1e-5))


def normal_tolerance(element: ElementType, *, stashed: bool = False) -> Tolerance:
    """Normalised values are of size one, scaled by up to four. What the standard says is computed
    in float32 (`stash_type`) is no better for double."""
    if stashed and element is ElementType.DOUBLE:
        element = ElementType.FLOAT
    # 1e-5 is the default epsilon in the text and in decimal, and its float32 in the protobuf.
    return composed(element, magnitude=64.0 if element is ElementType.DOUBLE else 4.0)


def standardised(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    mean = x.mean(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + epsilon)
    return (x - mean) * inverse, mean, inverse


@generates("LayerNormalization")
def layer_normalization(ask: Ask) -> Iterator[Draft]:
    """Every axis from both ends, with and without bias, all outputs, another epsilon."""
    shape = (2, 3, 4, 5)
    if ask.constraint == "U":
        element, stash = ElementType.FLOAT, ask.element
        if stash is ElementType.FLOAT:
            return
    else:
        element, stash = ask.element, ElementType.FLOAT
    for slug, axis, bias, epsilon, outputs in (
        ("default", None, True, None, 1),
        ("axis1", 1, False, None, 1),
        ("axis-2", -2, True, 0.1, 3),
        ("axis2", 2, True, None, 2),
    ):
        if ask.constraint == "U" and slug != "axis-2":
            continue
        draw = ask.draw(slug)
        x = draw.tensor(element, shape, -3, 5)
        at = -1 if axis is None else axis
        axes = tuple(range(at % 4, 4))
        scale = draw.tensor(element, shape[at % 4 :], -2, 2)
        inputs = [x, scale]
        used = _EPSILON if epsilon is None else float(np.float32(epsilon))
        normal, mean, inverse = standardised(widen(x), axes, used)
        result = normal * widen(scale)
        if bias:
            b = draw.tensor(element, shape[at % 4 :], -1, 1)
            inputs.append(b)
            result = result + widen(b)
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        if epsilon is not None:
            attributes["epsilon"] = epsilon
        if stash is not ElementType.FLOAT:
            attributes["stash_type"] = int(stash)
        kind = f"tensor({stash.onnx_name})"
        types = (f"tensor({element.onnx_name})", kind, kind)[:outputs]
        coarse = element if stash is ElementType.FLOAT else stash
        yield ask.draft(
            slug,
            inputs,
            [result, mean, inverse][:outputs],
            outputs=types,
            attributes=attributes,
            tolerance=normal_tolerance(coarse, stashed=True),
        )


@generates("RMSNormalization")
def rms_normalization(ask: Ask) -> Iterator[Draft]:
    """Axes from both ends, another epsilon, and a scale of another type than the input."""
    if ask.constraint == "V" and ask.type == "tensor(float)":
        return
    element = ask.element if ask.constraint == "T" else ElementType.FLOAT
    kind = ask.element
    shape = (2, 3, 4)
    for slug, axis, epsilon in (("default", None, None), ("axis1", 1, 0.1), ("axis-2", -2, None)):
        draw = ask.draw(slug)
        at = -1 if axis is None else axis
        x, scale = draw.tensor(element, shape, -3, 5), draw.tensor(kind, shape[at % 3 :], -2, 2)
        wide, axes = widen(x), tuple(range(at % 3, 3))
        used = _EPSILON if epsilon is None else float(np.float32(epsilon))
        root = np.sqrt((wide * wide).mean(axis=axes, keepdims=True) + used)
        attributes = {} if axis is None else {"axis": axis}
        settings = attributes if epsilon is None else {**attributes, "epsilon": epsilon}
        coarse = kind if kind in (ElementType.FLOAT16, ElementType.BFLOAT16) else element
        yield ask.draft(
            slug,
            [x, scale],
            [wide / root * widen(scale)],
            outputs=(f"tensor({kind.onnx_name})",),
            attributes=settings,
            tolerance=normal_tolerance(coarse, stashed=True),
        )


@generates("InstanceNormalization", "GroupNormalization")
def channel_normalization(ask: Ask) -> Iterator[Draft]:
    """One to three spatial dimensions, groups of one channel and of all, another epsilon."""
    grouped = ask.name == "GroupNormalization"
    for slug, shape, groups, epsilon in (
        ("image", (2, 6, 3, 5), 3, None),
        ("vector", (1, 3, 7), 3, 0.1),
        ("volume", (2, 4, 2, 3, 2), 1, None),
    ):
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, shape, -3, 5)
        scale = draw.tensor(ask.element, shape[1:2], -2, 2)
        bias = draw.tensor(ask.element, shape[1:2], -1, 1)
        wide = widen(x)
        used = _EPSILON if epsilon is None else float(np.float32(epsilon))
        parts = wide.reshape(shape[0], groups if grouped else shape[1], -1)
        normal = standardised(parts, (2,), used)[0].reshape(shape)
        channels = (1, -1) + (1,) * (len(shape) - 2)
        result = normal * widen(scale).reshape(channels) + widen(bias).reshape(channels)
        attributes: dict[str, Any] = {"num_groups": groups} if grouped else {}
        if epsilon is not None:
            attributes["epsilon"] = epsilon
        yield ask.draft(
            slug,
            [x, scale, bias],
            [result],
            attributes=attributes,
            tolerance=normal_tolerance(ask.element, stashed=grouped),
        )


@generates("BatchNormalization")
def batch_normalization(ask: Ask) -> Iterator[Draft]:
    """Inference with each constraint's types, another epsilon, no spatial dimension; training with
    its running statistics."""
    kinds = {c.name: ElementType.FLOAT for c in ask.operator.constraints}
    if ask.first:
        kinds = dict.fromkeys(kinds, ask.element)
    elif ask.type == "tensor(float)":
        return
    else:
        kinds[ask.constraint] = ask.element
    for slug, shape, training, settings in (
        ("image", (2, 3, 3, 5), 0, {}),
        ("matrix", (4, 3), 0, {"epsilon": 0.1}),
        ("training", (2, 3, 4), 1, {"momentum": 0.75}),
        ("training-default", (2, 3, 4), 1, {}),
        ("volume", (1, 3, 2, 3, 2), 0, {}),
    ):
        if not ask.first and slug.startswith("training"):
            continue
        if slug in ("training-default", "volume") and not (ask.first and ask.full):
            continue
        draw = ask.draw(slug)
        x = draw.tensor(kinds["T"], shape, -3, 5)
        scale, bias = (draw.tensor(kinds["T1"], (3,), 0.5, 2) for _ in range(2))
        mean, variance = (draw.tensor(kinds["T2"], (3,), 0.5, 3) for _ in range(2))
        channels = (1, -1) + (1,) * (len(shape) - 2)
        wide, m, v = widen(x), widen(mean), widen(variance)
        results = []
        outputs = [f"tensor({kinds['T'].onnx_name})"]
        attributes: dict[str, Any] = dict(settings)
        if training:
            axes = tuple(i for i in range(len(shape)) if i != 1)
            current, spread = wide.mean(axis=axes), wide.var(axis=axes)
            kept = settings.get("momentum", float(np.float32(0.9)))
            results = [m * kept + current * (1 - kept), v * kept + spread * (1 - kept)]
            outputs += [f"tensor({kinds['T2'].onnx_name})"] * 2
            attributes["training_mode"] = 1
            m, v = current, spread
        epsilon = float(np.float32(settings.get("epsilon", 1e-5)))
        normal = (wide - m.reshape(channels)) / np.sqrt(v.reshape(channels) + epsilon)
        result = normal * widen(scale).reshape(channels) + widen(bias).reshape(channels)
        halves = [k for k in kinds.values() if k in (ElementType.FLOAT16, ElementType.BFLOAT16)]
        coarse = halves[0] if halves else kinds["T"]
        yield ask.draft(
            slug,
            [x, scale, bias, mean, variance],
            [result, *results],
            outputs=tuple(outputs),
            attributes=attributes,
            tolerance=composed(coarse, magnitude=8.0),
        )


@generates("LpNormalization")
def lp_normalization(ask: Ask) -> Iterator[Draft]:
    """Both norms along each axis; a row of zeros stays zero."""
    for p in (2, 1):
        for axis in (None, 0, 1):
            slug = f"p{p}" + ("" if axis is None else f"-axis{axis}")
            x = widen(ask.draw(slug).tensor(ask.element, (3, 3, 5), -3, 3))
            if axis is None:
                x[0, 0] = 0.0
            along = -1 if axis is None else axis
            powers = np.abs(x) ** p
            norm = powers.sum(axis=along, keepdims=True) ** (1 / p)
            expected = np.where(norm == 0, 0.0, x / np.where(norm == 0, 1.0, norm))
            attributes = {"p": p} if axis is None else {"p": p, "axis": axis}
            yield ask.draft(
                slug,
                [narrow(x, ask.element)],
                [expected],
                attributes=attributes,
                tolerance=composed(ask.element, magnitude=1.0),
                # onnx 1.23.2's evaluator sums for p=1 without absolute values.
                composition=_BY_NORM.format(axis=along) if p == 1 and axis is not None else "",
                oracle="none" if p == 1 and axis is None else "widened",
                reason="onnx 1.23.2's evaluator sums for p=1 without absolute values",
            )
    plain = ask.draw("default").tensor(ask.element, (3, 7), -3, 3)
    wide = widen(plain)
    expected = wide / np.sqrt(np.square(wide).sum(-1, keepdims=True))
    yield ask.draft("default", [plain], [expected], tolerance=composed(ask.element, magnitude=1.0))


_BY_NORM = "a = Constant <value_ints = [{axis}]> () n = ReduceL1(x0, a) y0 = Div(x0, n)"


@generates("LRN")
def lrn(ask: Ask) -> Iterator[Draft]:
    """Neighbourhoods of odd and even size, wider than the channels, other parameters."""
    for slug, size, settings in (
        ("odd", 3, {}),
        ("even", 4, {"alpha": 0.5, "beta": 0.5, "bias": 2.0}),
        ("wide", 9, {"alpha": 0.25}),
    ):
        shape = (1, 5, 3, 3) if slug == "odd" else (2, 5, 3, 2)
        x = ask.draw(slug).tensor(ask.element, shape, -3, 3)
        wide = widen(x)
        squares = np.zeros_like(wide)
        for c in range(5):
            low, high = max(0, c - (size - 1) // 2), min(4, c + -(-(size - 1) // 2))
            squares[:, c] = (wide[:, low : high + 1] ** 2).sum(axis=1)
        alpha = float(np.float32(settings.get("alpha", 1e-4)))
        base = settings.get("bias", 1.0) + alpha / size * squares
        expected = wide / base ** settings.get("beta", 0.75)
        # The default of alpha is no number of binary.
        exact = "alpha" in settings or ask.element is not ElementType.DOUBLE
        coarse = ask.element if exact else ElementType.FLOAT
        yield ask.draft(
            slug,
            [x],
            [expected],
            attributes={"size": size, **settings},
            tolerance=composed(coarse, magnitude=1.0),
            composition=lrn_composition({"size": size, **settings}),
        )


@generates("LRN")
def lrn_of_a_volume(ask: Ask) -> Iterator[Draft]:
    """Three dimensions of space."""
    if not ask.full:
        return
    x = ask.draw("volume").tensor(ask.element, (1, 3, 2, 2, 3), -2, 2)
    wide = np.square(widen(x))
    total = np.stack([wide[:, max(i - 1, 0) : i + 2].sum(1) for i in range(3)], axis=1)
    yield ask.draft(
        "volume",
        [x],
        [widen(x) / np.sqrt(2.0 + 0.5 / 3 * total)],
        attributes={"size": 3, "alpha": 0.5, "beta": 0.5, "bias": 2.0},
        tolerance=composed(ask.element, magnitude=1.0),
        oracle="none",
        reason="onnx 1.23.2's evaluator takes images alone",
    )


def lrn_composition(settings: Mapping[str, float]) -> str:
    """The same by a mean over channels; onnx 1.23.2's evaluator normalises only as many channels as
    there are batches."""
    size = int(settings["size"])
    before, after = (size - 1) // 2, size // 2
    window = (
        f"kernel_shape = [{size}, 1, 1], pads = [{before}, 0, 0, {after}, 0, 0], "
        "count_include_pad = 1"
    )
    numbers = (
        f"{name} = Constant <value_float = {settings.get(name, default)}> () "
        f"{name}_ = CastLike({name}, x0) "
        for name, default in (("alpha", 1e-4), ("bias", 1.0), ("beta", 0.75))
    )
    return (
        "".join(numbers) + "one = Constant <value_ints = [1]> () s = Mul(x0, x0) "
        f"u = Unsqueeze(s, one) p = AveragePool <{window}> (u) m = Squeeze(p, one) "
        "t = Mul(m, alpha_) b = Add(t, bias_) d = Pow(b, beta_) y0 = Div(x0, d)"
    )


@generates("MeanVarianceNormalization")
def mean_variance_normalization(ask: Ask) -> Iterator[Draft]:
    """Over batch and space by default, and over stated axes."""
    for slug, axes, shape in (
        ("default", None, (2, 3, 3, 5)),
        ("axes", [1, 2], (2, 3, 4, 5)),
        ("negative-axes", [-1, -3], (2, 3, 5)),
        ("all-axes", [0], (7,)),
    ):
        x = ask.draw(slug).tensor(ask.element, shape, -3, 5)
        wide, along = widen(x), tuple(axes or (0, 2, 3))
        mean = wide.mean(axis=along, keepdims=True)
        spread = np.sqrt((wide * wide).mean(axis=along, keepdims=True) - mean * mean)
        expected = (wide - mean) / (spread + 1e-9)
        # E[x^2] - E[x]^2 in the type itself, as the standard's body has it, cancels.
        wide_type = ask.element is ElementType.DOUBLE
        yield ask.draft(
            slug,
            [x],
            [expected],
            attributes={} if axes is None else {"axes": axes},
            tolerance=composed(ask.element, magnitude=64.0 if wide_type else 8.0),
            composition=_STANDARDISED.format(axes=list(along)),
        )


_STANDARDISED = (
    "a = Constant <value_ints = {axes}> () m = ReduceMean(x0, a) d = Sub(x0, m) s = Mul(d, d) "
    "v = ReduceMean(s, a) r = Sqrt(v) e = Constant <value_float = 1e-9> () f = CastLike(e, r) "
    "t = Add(r, f) y0 = Div(d, t)"
)
"""onnx 1.23.2's evaluator cannot run the operator's body on double."""
