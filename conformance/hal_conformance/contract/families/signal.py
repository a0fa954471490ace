"""Window functions and Fourier transforms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.numbers import Array, is_float, narrow, widen
from hal_conformance.contract.tolerance import accumulated, composed


def _window(name: str, size: int, periodic: bool) -> Array:
    n = np.arange(size)
    turns = 2 * np.pi * n / (size if periodic else size - 1)
    if name == "HannWindow":
        return 0.5 - 0.5 * np.cos(turns)
    if name == "HammingWindow":
        return 25 / 46 - 21 / 46 * np.cos(turns)
    return 0.42 - 0.5 * np.cos(turns) + 0.08 * np.cos(2 * turns)


@generates("HannWindow", "HammingWindow", "BlackmanWindow")
def window(ask: Ask) -> Iterator[Draft]:
    """Periodic and symmetric, of even and odd length, into every type."""
    target = ask.element if ask.constraint == "T2" else ElementType.FLOAT
    kind = ask.element if ask.constraint == "T1" else ElementType.INT64
    # Odd periodic windows stay below one everywhere: cut off to an integer, they are zero.
    rows = ((10, 1), (9, 1), (10, 0), (9, 0)) if is_float(target) else ((5, 1), (3, 1))
    for size, periodic in rows:
        values = _window(ask.name, size, bool(periodic))
        if not is_float(target):
            values = np.zeros(size)
        attributes = {"periodic": periodic, "output_datatype": int(target)}
        # The functions' bodies compute in float32.
        computed = ElementType.FLOAT if target is ElementType.DOUBLE else target
        yield ask.draft(
            f"{'periodic' if periodic else 'symmetric'}{size}",
            [narrow(np.array(size), kind)],
            [values],
            outputs=(f"tensor({target.onnx_name})",),
            attributes=attributes,
            tolerance=composed(computed, magnitude=1.0),
            oracle="native",
            constants=frozenset({0}) if size == 9 else frozenset(),
            dynamic_outputs=size != 9,
        )
    if target is ElementType.FLOAT and kind is ElementType.INT64 and ask.first:
        sizes = (5, 37, 0, 5)
        yield Draft(
            slug="default",
            runs=tuple(
                Run((narrow(np.array(n), kind),), (_window(ask.name, n, True),)) for n in sizes
            ),
            outputs=("tensor(float)",),
            tolerance=composed(ElementType.FLOAT, magnitude=1.0),
            oracle="native",
            dynamic_outputs=True,
        )


def _complex(x: Array) -> Array:
    return np.asarray(x[..., 0] + (1j * x[..., 1] if x.shape[-1] == 2 else 0.0))


def _pairs(x: Array) -> Array:
    return np.stack([x.real, x.imag], axis=-1)


@generates("DFT")
def dft(ask: Ask) -> Iterator[Draft]:
    """Forward, inverse and one-sided; lengths that are powers of two, odd and prime; a signal that
    is cut off and one that is filled up; along another axis, constant and computed.

    The error is judged by a bound that a transform in the type of the signal keeps: naive sums do.
    """
    element = ask.element if ask.constraint == "T1" else ElementType.FLOAT
    index = ask.element if ask.constraint == "T2" else ElementType.INT64
    for slug, length, parts, size, axis, attributes in (
        ("power", 8, 1, None, 1, {}),
        ("odd", 9, 1, None, 1, {}),
        ("prime", 127, 1, None, 1, {}),
        ("complex", 12, 2, None, 1, {}),
        ("inverse", 12, 2, None, 1, {"inverse": 1}),
        ("onesided", 10, 1, None, 1, {"onesided": 1}),
        ("onesided-odd", 7, 1, None, 1, {"onesided": 1}),
        ("cut", 9, 1, 6, 1, {}),
        ("filled", 5, 1, 8, 1, {}),
        ("axis", 4, 1, None, 2, {}),
        ("negative-axis", 4, 2, None, -2, {}),
    ):
        if ask.constraint == "T2" and size is None:
            continue
        if not ask.full and ask.constraint == "T1" and slug not in ("power", "odd", "inverse"):
            continue
        draw = ask.draw(slug)
        shape = (2, length, parts) if axis == 1 else (2, 3, length, parts)
        x = draw.tensor(element, shape, -1, 1)
        signal = _complex(widen(x))
        place = 1 if axis == 1 else 2
        turn = np.fft.ifft if attributes.get("inverse") else np.fft.fft
        result = turn(signal, n=size, axis=place)
        if attributes.get("onesided"):
            result = np.take(result, range((size or length) // 2 + 1), axis=place)
        inputs: list[Tensor | None] = [x]
        inputs.append(narrow(np.array(size), index) if size is not None else None)
        inputs.append(narrow(np.array(axis), ElementType.INT64))
        terms = size or length
        yield ask.draft(
            slug,
            inputs,
            [_pairs(result)],
            outputs=[f"tensor({element.onnx_name})"],
            attributes=attributes,
            constants=frozenset({1, 2}) if size is not None else frozenset({2}),
            # Each product and each twiddle factor is rounded: four times the bound of a sum.
            tolerance=accumulated(
                element, terms=4 * terms, magnitude=2.0 * terms, steps=4, rounded=2.0 * terms
            ),
            reference_error=_TRANSFORM * terms,
        )


@generates("DFT")
def other_axes(ask: Ask) -> Iterator[Draft]:
    """One model along other axes."""
    if ask.constraint != "T1" or not ask.full:
        return
    x = ask.draw("axes").tensor(ask.element, (3, 5, 7, 2), -1, 1)
    runs = []
    for axis in (1, 0, -2, 1):
        result = _pairs(np.fft.fft(_complex(widen(x)), axis=axis + 1 if axis < 0 else axis))
        runs.append(Run((x, None, narrow(np.array(axis), ElementType.INT64)), (result,)))
    yield Draft(
        slug="axes",
        runs=tuple(runs),
        outputs=(ask.type,),
        tolerance=accumulated(ask.element, terms=28, magnitude=14.0, steps=4, rounded=14.0),
        reference_error=_TRANSFORM * 7,
    )


_TRANSFORM = 1e-9
"""By how much the evaluator may be off an element: it has a bound of its own in double."""


@generates("STFT")
def stft(ask: Ask) -> Iterator[Draft]:
    """With a window and without, one-sided and not, a step that leaves a rest."""
    element = ask.element if ask.constraint == "T1" else ElementType.FLOAT
    index = ask.element if ask.constraint == "T2" else ElementType.INT64
    for slug, windowed, onesided, step, frame in (
        ("plain", False, 1, 4, 8),
        ("window", True, 1, 3, 8),
        ("both-sides", True, 0, 5, 6),
    ):
        draw = ask.draw(slug)
        x = draw.tensor(element, (2, 21, 1), -1, 1)
        window = draw.tensor(element, (frame,), 0, 1) if windowed else None
        starts = range(0, 21 - frame + 1, step)
        wide = widen(x)[..., 0]
        frames = np.stack([wide[:, s : s + frame] for s in starts], axis=1)
        if window is not None:
            frames = frames * widen(window)
        result = np.fft.fft(frames, axis=2)
        if onesided:
            result = result[:, :, : frame // 2 + 1]
        yield ask.draft(
            slug,
            [x, narrow(np.array(step), index), window, narrow(np.array(frame), index)],
            [_pairs(result)],
            outputs=[f"tensor({element.onnx_name})"],
            attributes={"onesided": onesided},
            constants=frozenset({1, 3}),
            tolerance=accumulated(
                element, terms=4 * frame, magnitude=2.0 * frame, steps=4, rounded=2.0 * frame
            ),
            reference_error=_TRANSFORM * frame,
        )
