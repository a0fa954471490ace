"""Attributes away from their defaults where no family of shapes asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families._window import Window
from hal_conformance.contract.families.convolution import Conv, spread
from hal_conformance.contract.families.image import interpolation_weights
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.families.normalization import lrn_composition
from hal_conformance.contract.numbers import bounds, narrow, widen
from hal_conformance.contract.tolerance import accumulated, composed

_F = ElementType.FLOAT


@generates("Resize")
def resize_settings(ask: Ask) -> Iterator[Draft]:
    """Policies, ways to round, the edges of cubic and the outside of a crop; antialiasing."""
    if not (ask.first and ask.full):
        return
    sizes: list[tuple[str, dict[str, Any], list[int]]] = [
        ("not-larger", {"keep_aspect_ratio_policy": "not_larger", "axes": [2, 3]}, [7, 6]),
        ("not-smaller", {"keep_aspect_ratio_policy": "not_smaller", "axes": [2, 3]}, [7, 6]),
        ("axes-turned", {"mode": "linear", "axes": [3, 2]}, [7, 5]),
        ("axis-one", {"mode": "linear", "axes": [2]}, [7]),
        ("symmetric", _coordinates("half_pixel_symmetric"), [1, 2, 5, 7]),
        ("pytorch-one", _coordinates("pytorch_half_pixel"), [1, 2, 1, 3]),
        ("exclude", {"mode": "cubic", "exclude_outside": 1}, [1, 2, 5, 7]),
        ("keys", {"mode": "cubic", "cubic_coeff_a": -0.5}, [1, 2, 5, 7]),
        ("antialias", {"mode": "linear", "antialias": 1}, [1, 2, 2, 3]),
        ("antialias-cubic", {"mode": "cubic", "antialias": 1}, [1, 2, 2, 3]),
        ("linear-default", {"mode": "linear"}, [1, 2, 5, 7]),
    ]
    for slug, attributes, target in sizes:
        x = ask.draw(slug).tensor(ask.element, (1, 2, 4, 5), -3, 3)
        yield ask.draft(
            slug,
            [x, None, None, int64s(target)],
            attributes=attributes,
            constants=frozenset({3}),
            tolerance=composed(_F, magnitude=8.0),
        )
    x = ask.draw("axes-negative").tensor(ask.element, (1, 2, 4, 5), -3, 3)
    rows, columns = (interpolation_weights("linear", "half_pixel", *n) for n in ((4, 5), (5, 7)))
    yield ask.draft(
        "axes-negative",
        [x, None, None, int64s([7, 5])],
        [rows @ widen(x) @ columns.T],
        attributes={"mode": "linear", "axes": [-1, -2]},
        constants=frozenset({3}),
        tolerance=composed(_F, magnitude=8.0),
        oracle="none",
        reason="onnx 1.23.2's evaluator takes no negative axes",
    )
    scales = narrow(np.array([1.0, 1.0, 0.6, 1.3]), _F)
    x = ask.draw("symmetric-scales").tensor(ask.element, (1, 2, 5, 5), -3, 3)
    yield ask.draft(
        "symmetric-scales",
        [x, None, scales],
        attributes=_coordinates("half_pixel_symmetric"),
        constants=frozenset({2}),
        tolerance=composed(_F, magnitude=8.0),
    )
    for slug, outside in (("crop", None), ("crop-value", -7.5)):
        x = ask.draw(slug).tensor(ask.element, (1, 1, 4, 5), -3, 3)
        region = narrow(np.array([0.0, 0.0, -0.4, 0.2, 1.0, 1.0, 0.7, 1.6]), _F)
        extra = {} if outside is None else {"extrapolation_value": outside}
        yield ask.draft(
            slug,
            [x, region, None, int64s([1, 1, 5, 6])],
            attributes={**_coordinates("tf_crop_and_resize"), **extra},
            constants=frozenset({3}),
            tolerance=composed(_F, magnitude=8.0),
        )
    # With half of a whole factor every second position is in the middle between two places.
    for mode in (None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        x = ask.draw(f"nearest-{mode}").tensor(ask.element, (1, 1, 4, 6), -3, 3)
        chosen = {} if mode is None else {"nearest_mode": mode}
        yield ask.draft(
            f"nearest-{(mode or 'default').replace('_', '-')}",
            [x, None, narrow(np.array([1.0, 1.0, 2.0, 0.5]), _F)],
            attributes={"coordinate_transformation_mode": "asymmetric", **chosen},
            constants=frozenset({2}),
        )
        yield ask.draft(
            f"nearest-half-{(mode or 'default').replace('_', '-')}",
            [x, None, narrow(np.array([1.0, 1.0, 0.5, 1.5]), _F)],
            attributes=chosen,
            constants=frozenset({2}),
        )


def _coordinates(name: str) -> dict[str, Any]:
    return {"mode": "linear", "coordinate_transformation_mode": name}


@generates("Gemm")
def gemm_settings(ask: Ask) -> Iterator[Draft]:
    """Factors below zero and fractions."""
    if not ask.full:
        return
    draw = ask.draw("factors")
    a, b, c = (draw.tensor(ask.element, s, -2, 2) for s in ((3, 4), (4, 5), (3, 5)))
    for slug, alpha, beta in (("negative", -1.5, -0.75), ("fractions", 0.25, 1.25)):
        yield ask.draft(
            slug,
            [a, b, c],
            [alpha * (widen(a) @ widen(b)) + beta * widen(c)],
            attributes={"alpha": alpha, "beta": beta},
            tolerance=accumulated(ask.element, terms=6, magnitude=32.0, rounded=16.0),
        )


@generates("LRN")
def lrn_settings(ask: Ask) -> Iterator[Draft]:
    """A large and a fractional bias, exponents and factors below zero."""
    if not ask.full:
        return
    rows: list[tuple[str, dict[str, Any]]] = [
        ("factors", {"size": 3, "alpha": 1.5, "beta": 1.25, "bias": 2.75}),
        ("beta-negative", {"size": 3, "alpha": 0.5, "beta": -0.5, "bias": 1.5}),
        ("alpha-negative", {"size": 3, "alpha": -0.25, "beta": 0.5, "bias": 20.5}),
        ("infinite", {"size": 3, "alpha": 0.5, "beta": -0.5, "bias": 1.5}),
        ("bias-negative", {"size": 3, "alpha": -0.25, "beta": 2.0, "bias": -1.5}),
    ]
    for slug, attributes in rows:
        x = ask.draw(slug).tensor(ask.element, (2, 5, 3, 2), -2, 2)
        if slug == "infinite":
            x = narrow(
                np.where(np.arange(60).reshape(x.shape) == 31, np.inf, widen(x)), ask.element
            )
        wide = np.square(widen(x))
        total = np.zeros_like(wide)
        for i in range(5):
            total[:, i] = wide[:, max(i - 1, 0) : i + 2].sum(1)
        base = attributes["bias"] + attributes["alpha"] / 3 * total
        with np.errstate(divide="ignore"):
            expected = widen(x) / base ** attributes["beta"]
        yield ask.draft(
            slug,
            [x],
            [expected],
            attributes=attributes,
            tolerance=composed(ask.element, magnitude=4.0),
            composition=lrn_composition(attributes),
        )


@generates("Shrink")
def shrink_settings(ask: Ask) -> Iterator[Draft]:
    """A fractional bias, one below zero, and a bound below zero."""
    if not ask.full:
        return
    for slug, bound, bias in (
        ("bias-negative", 1.5, -2.25),
        ("bias-fraction", 0.5, 1.75),
        ("bound-negative", -1.5, 0.5),
    ):
        x = ask.draw(slug).tensor(ask.element, (3, 7), -4, 4)
        wide = widen(x)
        expected = np.where(wide < -bound, wide + bias, np.where(wide > bound, wide - bias, 0))
        yield ask.draft(
            slug,
            [x],
            [expected],
            attributes={"lambd": bound, "bias": bias},
            tolerance=composed(ask.element, magnitude=4.0),
        )


@generates("ConvInteger", "QLinearConv")
def integer_windows(ask: Ask) -> Iterator[Draft]:
    """Groups, dilations, strides that differ along the axes, and padding that is worked out, on
    several images."""
    if ask.constraint != "T1":
        return
    rows: list[tuple[str, int, dict[str, Any]]] = [
        ("window-groups", 2, {"group": 2}),
        ("window-dilations", 1, {"dilations": [2, 1], "pads": [1, 0, 2, 1]}),
        ("window-strides", 1, {"strides": [2, 3], "pads": [0, 2, 1, 0], "kernel_shape": [2, 3]}),
        ("same-upper", 1, {"auto_pad": "SAME_UPPER", "strides": [2, 1]}),
        ("same-lower", 1, {"auto_pad": "SAME_LOWER", "strides": [1, 2]}),
        ("valid", 1, {"auto_pad": "VALID"}),
    ]
    low, high = (float(v) for v in bounds(ask.element))
    for slug, groups, attributes in rows:
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, (2, 4, 5, 6), low, high)
        w = draw.tensor(ask.element, (4, 4 // groups, 2, 3), low, high)
        point = narrow(np.array(3), ask.element)
        if ask.name == "ConvInteger":
            yield ask.draft(
                slug,
                [x, w, point],
                outputs=("tensor(int32)",),
                attributes=attributes,
                oracle="native",
            )
            continue
        scales = [narrow(np.array(v), _F) for v in (0.0625, 0.03125, 3.7)]
        bias = draw.tensor(ElementType.INT32, (4,), -500, 500)
        yield ask.draft(
            slug,
            [x, scales[0], point, w, scales[1], point, scales[2], point, bias],
            attributes=attributes,
            constants=frozenset({3, 4, 5, 8}),
            oracle="native",
        )


@generates("ConvTranspose")
def transposed_settings(ask: Ask) -> Iterator[Draft]:
    """Padding that is worked out, from either end, and from the output's extents."""
    if not ask.full:
        return
    rows: list[tuple[str, dict[str, Any]]] = [
        ("same-upper", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("same-lower", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ("output-shape", {"output_shape": [7, 9], "strides": [3, 2]}),
        ("valid", {"auto_pad": "VALID", "strides": [2, 1]}),
    ]
    for slug, attributes in rows:
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, (2, 2, 3, 4), -2, 2)
        w = draw.tensor(ask.element, (2, 3, 3, 3), -2, 2)
        stated = slug == "output-shape"  # one row of padding at either end
        row = Conv((2, 2, 3, 4), (2, 3, 3, 3), Window((3, 3), (3, 2), (1, 1), (1, 0, 1, 0)))
        yield ask.draft(
            slug,
            [x, w],
            [spread(widen(x), widen(w), row)] if stated else [],
            attributes=attributes,
            tolerance=accumulated(ask.element, terms=18, magnitude=72.0, rounded=36.0),
            oracle="none" if stated else "widened",
            reason="onnx 1.23.2's evaluator raises",
        )


@generates("Attention")
def attention_settings(ask: Ask) -> Iterator[Draft]:
    """What is shown of the scores, each with a mask, a cap and a scale."""
    if not (ask.first and ask.full):
        return
    for mode in (0, 1, 2, 3):
        draw = ask.draw(f"scores{mode}")
        q, k, v = (draw.tensor(ask.element, (2, 2, n, 8), -1, 1) for n in (3, 4, 4))
        mask = draw.tensor(ask.element, (3, 4), -1, 1)
        scores = 0.75 * widen(q) @ np.swapaxes(widen(k), -1, -2)
        capped = 1.5 * np.tanh(scores / 1.5)
        biased = capped + widen(mask)
        powers = np.exp(biased - biased.max(-1, keepdims=True))
        shares = powers / powers.sum(-1, keepdims=True)
        yield ask.draft(
            f"scores{mode}",
            [q, k, v, mask],
            [shares @ widen(v), None, None, (scores, capped, biased, shares)[mode]],
            outputs=(ask.type, "", "", ask.type),
            attributes={
                "softcap": 1.5,
                "scale": 0.75,
                **({"qk_matmul_output_mode": mode} if mode else {}),
            },
            tolerance=accumulated(ask.element, terms=12, magnitude=16.0, steps=8.0, rounded=8.0),
            oracle="widened" if mode else "none",
            reason="onnx 1.23.2's evaluator takes an absent mode for another one",
        )


@generates("CumSum", "CumProd")
def cumulative_axes(ask: Ask) -> Iterator[Draft]:
    """The same model along each axis, which is computed."""
    if ask.constraint != "T" or not ask.full:
        return
    x: Tensor = ask.draw("axes").tensor(ask.element, (3, 7), -2, 2)
    moved = np.cumsum if ask.name == "CumSum" else np.cumprod
    yield Draft(
        slug="axes",
        runs=tuple(
            Run((x, narrow(np.array(axis), ElementType.INT32)), (moved(widen(x), axis=axis),))
            for axis in (0, 1, -2, -1, 0)
        ),
        outputs=(ask.type,),
        tolerance=accumulated(ask.element, terms=7, magnitude=128.0, rounded=16.0),
    )
