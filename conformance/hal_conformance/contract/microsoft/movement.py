"""Moving and choosing values, and the few operators of linear algebra."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.microsoft.products import packed, unpacking
from hal_conformance.contract.numbers import bounds, narrow, widen
from hal_conformance.contract.tolerance import accumulated, composed, elementary

_MS = "com.microsoft::"


@generates(_MS + "Trilu")
def trilu(ask: Ask) -> Iterator[Draft]:
    """Both triangles, a diagonal beside the middle, batches."""
    for slug, upper, k in (
        ("upper", 1, None),
        ("lower", 0, None),
        ("above", 1, 1),
        ("below", 0, -1),
    ):
        x = ask.draw(slug).tensor(ask.element, (2, 3, 4))
        inputs = [x] if k is None else [x, narrow(np.array(k), ElementType.INT64)]
        function = np.triu if upper else np.tril
        result = function(widen(x), k or 0)
        given = "x0" if k is None else "x0, x1"
        yield ask.draft(
            slug,
            inputs,
            [result],
            attributes={"upper": upper},
            composition=f"y0 = Trilu <upper = {upper}> ({given})",
        )


@generates(_MS + "ExpandDims")
def expand_dims(ask: Ask) -> Iterator[Draft]:
    """Behind and in front, by a negative axis."""
    for slug, axis in (("first", 0), ("last", 2), ("negative", -1)):
        x = ask.draw(slug).tensor(ask.element, (2, 3))
        yield ask.draft(
            slug,
            [x, narrow(np.array(axis), ElementType.INT32)],
            [np.expand_dims(x.bits() if ask.element is ElementType.STRING else widen(x), axis)],
            constants=frozenset({1}),
            composition="a = Cast <to = 7> (x1) s = Constant <value_ints = [1]> ()"
            " r = Reshape(a, s) y0 = Unsqueeze(x0, r)",
        )


@generates(_MS + "GatherND")
def gather_nd(ask: Ask) -> Iterator[Draft]:
    """Elements and rows, negative indices too."""
    if ask.constraint == "Tind":
        element, index = ElementType.FLOAT, ask.element
    else:
        element, index = ask.element, ElementType.INT64
    for slug, places in (("elements", [[0, 1], [2, -1]]), ("rows", [[2], [-3]])):
        x = ask.draw(slug).tensor(element, (3, 4))
        raw = x.bits() if element is ElementType.STRING else widen(x)
        result = raw[tuple(np.array(places).T)]
        yield ask.draft(
            slug,
            [x, narrow(np.array(places), index)],
            [result],
            outputs=[f"tensor({element.onnx_name})"],
            composition="i = Cast <to = 7> (x1) y0 = GatherND(x0, i)",
        )


@generates(_MS + "Pad")
def pad(ask: Ask) -> Iterator[Draft]:
    """A value, the edge, a reflection."""
    for mode in ("constant", "edge", "reflect"):
        x = ask.draw(mode).tensor(ask.element, (3, 4))
        pads = narrow(np.array([0, 2, 1, 1]), ElementType.INT64)
        inputs = [x, pads]
        moved = np.pad(widen(x), ((0, 1), (2, 1)), mode=mode)
        if mode == "constant":
            inputs.append(narrow(np.array(2.5), ask.element))
            moved = np.pad(widen(x), ((0, 1), (2, 1)), constant_values=2.5)
        given = ", ".join(f"x{i}" for i in range(len(inputs)))
        yield ask.draft(
            mode,
            inputs,
            [moved],
            attributes={"mode": mode},
            composition=f'y0 = Pad <mode = "{mode}"> ({given})',
        )


@generates(_MS + "Range")
def ranged(ask: Ask) -> Iterator[Draft]:
    """Up, down, and with a step of 1 left out."""
    for slug, start, limit, delta in (("up", 1, 10, 3), ("down", 5, -4, -2), ("plain", 2, 6, None)):
        inputs = [narrow(np.array(v), ask.element) for v in (start, limit, delta) if v is not None]
        result = np.arange(start, limit, delta or 1)
        step = "x2" if delta is not None else "o"
        text = "z = Sub(x0, x0) p = Constant <value = int64 {1}> () c = CastLike(p, x0)"
        yield ask.draft(
            slug,
            inputs,
            [result],
            composition=f"{text} o = Add(z, c) y0 = Range(x0, x1, {step})",
            dynamic_outputs=True,
        )


@generates(_MS + "Unique")
def unique(ask: Ask) -> Iterator[Draft]:
    """Values in the order of their first occurrence, where each element is found, and counts."""
    if ask.element is not ElementType.FLOAT:
        return
    x = np.array([2.0, 1.0, 2.0, 5.0, 1.0, 2.0])
    yield ask.draft(
        "first-seen",
        [narrow(x, ask.element)],
        [np.array([2.0, 1.0, 5.0]), np.array([0, 1, 0, 2, 1, 0]), np.array([3, 2, 1])],
        outputs=[ask.type, "tensor(int64)", "tensor(int64)"],
        dynamic_outputs=True,
        oracle="none",
        reason="onnx 1.23.2's evaluator is at fault for sorted=0 (see docs/findings.md)",
    )


@generates(_MS + "Inverse")
def inverse(ask: Ask) -> Iterator[Draft]:
    """Of matrices near the identity, in a batch."""
    for slug, shape in (("plain", (4, 4)), ("batch", (2, 3, 3))):
        noise = ask.draw(slug).floats(shape, -0.2, 0.2)
        x = narrow(np.eye(shape[-1]) + noise, ask.element)
        result = np.linalg.inv(widen(x))
        # Newton's iteration by ONNX's operators: quadratic, from the identity, |I - x| < 1.
        n = shape[-1]
        text = "i = EyeLike <dtype = 11> (e) t = Add(i, i) w0 = Sub(t, x0)"
        text = f"s = Constant <value_ints = [{n}, {n}]> () e = ConstantOfShape(s) " + text
        for step in range(8):
            text += f" p{step} = MatMul(x0, w{step}) r{step} = Sub(t, p{step})"
            text += f" w{step + 1} = MatMul(w{step}, r{step})"
        yield ask.draft(
            slug,
            [x],
            [result],
            composition=f"{text} y0 = Identity(w8)",
            tolerance=accumulated(ask.element, terms=8 * n, magnitude=16.0, steps=8, rounded=16.0),
        )


@generates(_MS + "CDist")
def distances(ask: Ask) -> Iterator[Draft]:
    """Squared and Euclidean, between rows."""
    for metric in ("sqeuclidean", "euclidean"):
        draw = ask.draw(metric)
        a, b = draw.tensor(ask.element, (4, 3), -2, 2), draw.tensor(ask.element, (5, 3), -2, 2)
        square = ((widen(a)[:, None] - widen(b)) ** 2).sum(axis=-1)
        text = "o = Constant <value_ints = [1]> () p = Unsqueeze(x0, o) d = Sub(p, x1)"
        text += " m = Mul(d, d) l = Constant <value_ints = [-1]> ()"
        text += " s = ReduceSum <keepdims = 0> (m, l)"
        root = metric == "euclidean"
        yield ask.draft(
            metric,
            [a, b],
            [np.sqrt(square) if root else square],
            attributes={"metric": metric},
            composition=text + (" y0 = Sqrt(s)" if root else " y0 = Identity(s)"),
            # |a|^2 - 2ab + |b|^2 is an admitted way, which loses what the squares cancel.
            tolerance=composed(ask.element, magnitude=24.0),
        )


@generates(_MS + "GatherBlockQuantized")
def gather_blocks(ask: Ask) -> Iterator[Draft]:
    """An embedding of 4 bits, packed in bytes and of types of their own; 8 bits; zero points."""
    if ask.constraint not in ("T1", "Tind"):
        return
    element = ask.element if ask.constraint == "T1" else ElementType.UINT8
    index = ElementType.INT64 if ask.constraint == "T1" else ask.element
    if element.onnx_name not in ("uint8", "uint4", "int4"):
        return
    for slug, bits, zeroed in (("plain", 4, False), ("zero", 4, True), ("eight", 8, False)):
        if bits == 8 and element is not ElementType.UINT8:
            continue
        draw = ask.draw(slug)
        in_bytes = element is ElementType.UINT8
        low, high = (0, (1 << bits) - 1) if in_bytes else bounds(element)
        data, zero = draw.integers((6, 32), low, high), draw.integers((6, 2), low, high)
        scales = draw.tensor(ElementType.FLOAT, (6, 2), 0.1, 1)
        places = draw.integers((2, 3), -6, 5)
        middle = (1 << (bits - 1)) if in_bytes else 0
        real = (data - (zero if zeroed else np.full((6, 2), middle)).repeat(16, axis=1)).astype(
            float
        )
        result = (real * widen(scales).repeat(16, axis=1))[places]
        stored = [packed(v, bits) if in_bytes else v for v in (data, zero)]
        inputs: list[Tensor] = [narrow(stored[0], element), narrow(places, index), scales]
        if zeroed:
            inputs.append(narrow(stored[1], element))
        if in_bytes:
            text = unpacking("x0", "d", bits, (6,), 32)
            text += " " + unpacking("x3", "z", bits, (6,), 2) if zeroed else ""
        else:
            text = "d = Cast <to = 11> (x0)" + (" z = Cast <to = 11> (x3)" if zeroed else "")
        if not zeroed:
            text += f" z = Constant <value = double {{{middle}}}> ()"
        text += " b = Constant <value_ints = [6, 2, 16]> () f = Reshape(d, b)"
        text += " o = Constant <value_ints = [-1]> () s = Unsqueeze(x2, o)"
        text += " zz = Unsqueeze(z, o)" if zeroed else " zz = Identity(z)"
        text += " m = Sub(f, zz) r = Mul(m, s) w = Constant <value_ints = [6, 32]> ()"
        text += " t = Reshape(r, w) y0 = Gather <axis = 0> (t, x1)"
        yield ask.draft(
            slug,
            inputs,
            [result],
            outputs=["tensor(float)"],
            attributes={"bits": bits, "block_size": 16, "quantize_axis": 1, "gather_axis": 0},
            constants=frozenset({0, 2, 3}) if zeroed else frozenset({0, 2}),
            composition=text,
            tolerance=elementary(ElementType.FLOAT, "Mul"),
            opset=21,
        )


@generates(_MS + "UnfoldTensor")
def unfolded(ask: Ask) -> Iterator[Draft]:
    """Windows along an axis, overlapping, apart, or as long as the axis; they become the last
    axis."""
    for slug, shape, axis, size, step in (
        ("last", (2, 7), -1, 3, 2),
        ("first", (6, 2, 3), 0, 2, 1),
        ("middle", (2, 9, 3), 1, 2, 4),
        ("whole", (3, 4), 1, 4, 1),
        ("vector", (8,), 0, 3, 3),
    ):
        if not ask.full and slug not in ("last", "first"):
            continue
        x = ask.draw(slug).tensor(ask.element, shape)
        at = axis % len(shape)
        windows = np.lib.stride_tricks.sliding_window_view(
            np.arange(x.size).reshape(shape), size, at
        )
        places = windows[(slice(None),) * at + (slice(None, None, step),)]
        order = [*(i for i in range(len(shape)) if i != at), at]
        text, parts = f"w = Constant <value_ints = [{at}]> ()", []
        for number, begin in enumerate(range(0, shape[at] - size + 1, step)):
            text += f" b{number} = Constant <value_ints = [{begin}]> ()"
            text += f" e{number} = Constant <value_ints = [{begin + size}]> ()"
            text += f" s{number} = Slice(x0, b{number}, e{number}, w)"
            text += f" t{number} = Transpose <perm = {order}> (s{number})"
            text += f" u{number} = Unsqueeze(t{number}, w)"
            parts.append(f"u{number}")
        yield ask.draft(
            slug,
            [x],
            [widen(x).ravel()[places]],
            attributes={"dim": axis, "size": size, "step": step},
            composition=f"{text} y0 = Concat <axis = {at}> ({', '.join(parts)})",
        )
