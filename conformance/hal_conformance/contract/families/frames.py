"""Images, regions and frames once more: what is infinite, other ranks, parameters and defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, bounds, is_integer, narrow, widen
from hal_conformance.contract.tolerance import accumulated, composed

_F = ElementType.FLOAT
_NEAREST = {
    "mode": "nearest",
    "nearest_mode": "floor",
    "coordinate_transformation_mode": "asymmetric",
}


@generates("RoiAlign")
def infinite_places(ask: Ask) -> Iterator[Draft]:
    """A region whose one sample lies between four places, of which one is infinite; five regions of
    two images."""
    if ask.constraint != "T1" or not ask.full:
        return
    x = np.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    x[0, 0, 1, 1] = np.inf
    rois = np.array([[1.5, 1.5, 2.5, 2.5], [2.6, 2.6, 3.6, 3.6]])
    one: dict[str, Any] = {"output_height": 1, "output_width": 1, "sampling_ratio": 1}
    yield ask.draft(
        "infinite",
        [narrow(x, ask.element), narrow(rois, ask.element), int64s([0, 0])],
        [np.array([np.inf, 14.0]).reshape(2, 1, 1, 1)],
        attributes=one,
        tolerance=composed(_F, magnitude=16.0),
        oracle="none",
        reason="onnx 1.23.2's evaluator multiplies infinity by weights of zero",
    )
    draw = ask.draw("places")
    images = draw.tensor(ask.element, (2, 1, 5, 6), -2, 2)
    start = draw.floats((5, 2), 0.1, 1.9)
    regions = np.concatenate([start, start + draw.floats((5, 2), 1.2, 2.9)], axis=1)
    yield ask.draft(
        "places",
        [images, narrow(regions, ask.element), int64s([1, 0, 0, 1, 0])],
        attributes={**one, "output_width": 3},
        tolerance=composed(_F, magnitude=16.0),
    )


@generates("Resize")
def resized_again(ask: Ask) -> Iterator[Draft]:
    """Whole factors: of several images with infinities, of five dimensions, of integers of many
    bits; one model to other sizes."""
    if ask.constraint != "T1":
        return
    if is_integer(ask.element):
        low, high = bounds(ask.element)
        if ask.element.bits >= 32:
            values = np.array([high, high - 2, low + 1, high // 3], dtype=object)
            exact = values.astype(np.uint64 if low == 0 else np.int64).reshape(1, 1, 2, 2)
            scales = narrow(np.array([1.0, 1.0, 2.0, 1.0]), _F)
            yield ask.draft(
                "wide",
                [narrow(exact, ask.element), None, scales],
                [np.repeat(exact, 2, axis=2)],
                attributes=_NEAREST,
                constants=frozenset({2}),
                oracle="none",
                reason="onnx 1.23.2's evaluator computes weights in double for every type",
            )
        return
    if not ask.full:
        return
    batch = widen(ask.draw("batch").tensor(ask.element, (2, 3, 3, 3), -3, 3))
    batch[0, 1, 1, 1], batch[1, 2, 0, 0], batch[1, 0, 2, 2] = np.inf, -np.inf, np.nan
    deep = widen(ask.draw("rank5").tensor(ask.element, (1, 2, 2, 1, 3), -3, 3))
    rows: list[tuple[str, Array, list[int]]] = [
        ("batch", batch, [1, 1, 2, 3]),
        ("rank5", deep, [1, 1, 2, 1, 2]),
    ]
    for slug, values, factors in rows:
        expected = values
        for axis, factor in enumerate(factors):
            expected = np.repeat(expected, factor, axis=axis)
        yield ask.draft(
            slug,
            [narrow(values, ask.element), None, narrow(np.array(factors, float), _F)],
            [expected],
            attributes=_NEAREST,
            constants=frozenset({2}),
            oracle="none" if slug == "batch" else "widened",
            reason="onnx 1.23.2's evaluator multiplies infinity by weights of zero",
        )
    x = ask.draw("sizes").tensor(ask.element, (1, 1, 2, 3))
    runs = []
    for tall, across in ((2, 1), (1, 3), (3, 2)):
        expected = np.repeat(np.repeat(widen(x), tall, axis=2), across, axis=3)
        runs.append(Run((x, None, None, int64s([1, 1, 2 * tall, 3 * across])), (expected,)))
    yield Draft(
        slug="sizes",
        runs=tuple(runs),
        outputs=(ask.type,),
        attributes=_NEAREST,
        dynamic_outputs=True,
    )


@generates("STFT")
def framed_again(ask: Ask) -> Iterator[Draft]:
    """One model with other windows; a signal of complex numbers."""
    if ask.constraint != "T1":
        return
    step, frame = 5, 9
    terms = {"terms": 4 * frame, "magnitude": 2.0 * frame, "steps": 4, "rounded": 2.0 * frame}
    settings: dict[str, Any] = {
        "constants": frozenset({1, 3}),
        "tolerance": accumulated(ask.element, **terms),  # type: ignore[arg-type]
        "reference_error": 1e-9 * frame,
    }
    draw = ask.draw("windows")
    x = draw.tensor(ask.element, (1, 19, 1), -1, 1)
    runs = []
    for _ in range(2):
        window = draw.tensor(ask.element, (frame,), 0, 1)
        found = _spectra(widen(x)[..., 0], widen(window), step, frame)[:, :, : frame // 2 + 1]
        runs.append(Run((x, int64s(step), window, int64s(frame)), (_pairs(found),)))
    # onnx 1.23.2 infers the shape of both sides where the attribute is left to its default.
    one_sided = {"onesided": 1}
    yield Draft(
        slug="windows", runs=tuple(runs), outputs=(ask.type,), attributes=one_sided, **settings
    )
    both = draw.tensor(ask.element, (1, 14, 2), -1, 1)
    wide = widen(both)[..., 0] + 1j * widen(both)[..., 1]
    yield ask.draft(
        "complex",
        [both, int64s(step), None, int64s(frame)],
        [_pairs(_spectra(wide, np.ones(frame), step, frame))],
        attributes={"onesided": 0},
        **settings,
    )


def _spectra(x: Array, window: Array, step: int, frame: int) -> Array:
    starts = range(0, x.shape[1] - frame + 1, step)
    frames = np.stack([x[:, s : s + frame] * window for s in starts], axis=1)
    return np.asarray(np.fft.fft(frames, axis=2))


def _pairs(x: Array) -> Array:
    return np.stack([x.real, x.imag], axis=-1)
