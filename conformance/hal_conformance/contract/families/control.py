"""Control flow: If, Loop and Scan over every type that they take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import helper

from hal import ElementType, Tensor, Value
from hal.contract import contract
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.containers import drawn, hard
from hal_conformance.contract.numbers import is_float, narrow, widen
from hal_conformance.contract.protos import tensor_proto, type_proto
from hal_conformance.contract.tolerance import elementary


@generates("If")
def choice(ask: Ask) -> Iterator[Draft]:
    """Both branches, each of which reads a value from outside."""
    if ask.constraint != "V":
        return
    draw = ask.draw("branches")
    a, b = drawn(draw, ask.type), drawn(draw, ask.type, count=2)
    attributes = {
        "then_branch": _branch(ask.type, "x1", "then"),
        "else_branch": _branch(ask.type, "x2", "else"),
    }
    runs = tuple(
        Run((narrow(flag, ElementType.BOOL), a, b), (chosen,))
        for flag, chosen in ((True, a), (False, b))
    )
    yield Draft(
        slug="branches",
        runs=runs,
        outputs=(ask.type,),
        attributes=attributes,
        captured=2,
        oracle="native",
    )


@generates("If")
def choice_of_shapes(ask: Ask) -> Iterator[Draft]:
    """Two results, which the branches exchange: of other shapes, and with no element."""
    if ask.constraint != "V" or ask.type != "tensor(float)":
        return
    branches = {}
    for name, order in (("then", (1, 2)), ("else", (2, 1))):
        given = [helper.make_value_info(f"{name}{i}", type_proto(ask.type)) for i in order]
        nodes = [helper.make_node("Identity", [f"x{i}"], [f"{name}{i}"]) for i in order]
        for node in nodes:
            node.name = node.output[0]
        branches[f"{name}_branch"] = helper.make_graph(nodes, name, [], given)
    runs = []
    for i, (flag, rows) in enumerate(((True, 3), (False, 3), (True, 0), (True, 5), (True, 3))):
        draw = ask.draw(f"shapes{i}")
        a, b = draw.tensor(ask.element, (rows, 7)), draw.tensor(ask.element, (5, 1))
        chosen = (widen(a), widen(b)) if flag else (widen(b), widen(a))
        runs.append(Run((narrow(flag, ElementType.BOOL), a, b), chosen))
    yield Draft(
        slug="shapes",
        runs=tuple(runs),
        outputs=(ask.type, ask.type),
        attributes=branches,
        captured=2,
        oracle="native",
        dynamic_outputs=True,
    )


def _branch(type_: str, outer: str, name: str) -> Any:
    """A graph without inputs that hands on a value of the outer graph."""
    output = helper.make_value_info(f"{name}_out", type_proto(type_))
    identity = {t for c in contract().latest("Identity").constraints for t in c.types}
    if type_ in identity:
        nodes = [helper.make_node("Identity", [outer], [output.name], name=f"{name}_copy")]
    else:  # a Loop of one turn takes every type, Identity does not
        count = helper.make_node(
            "Constant",
            [],
            [f"{name}_turns"],
            name=f"{name}_turns",
            value=tensor_proto("turns", narrow(1, ElementType.INT64)),
        )
        loop = helper.make_node(
            "Loop",
            [f"{name}_turns", "", outer],
            [output.name],
            name=f"{name}_copy",
            body=_carry(type_, f"{name}_"),
        )
        nodes = [count, loop]
    return helper.make_graph(nodes, name, [], [output])


def _carry(type_: str, prefix: str = "") -> Any:
    """The body of a loop that hands on its value and its condition."""
    turn = helper.make_value_info(f"{prefix}turn", type_proto("tensor(int64)", ()))
    more = helper.make_value_info(f"{prefix}more", type_proto("tensor(bool)", ()))
    going = helper.make_value_info(f"{prefix}going", type_proto("tensor(bool)", ()))
    value = helper.make_value_info(f"{prefix}value", type_proto(type_))
    keep = helper.make_node("Identity", [more.name], [going.name], name=f"{prefix}keep")
    return helper.make_graph([keep], f"{prefix}body", [turn, more, value], [going, value])


@generates("Loop")
def loop(ask: Ask) -> Iterator[Draft]:
    """Values carried for several turns and for none."""
    if ask.constraint != "V":
        return
    value = drawn(ask.draw("carry"), ask.type)
    true = narrow(True, ElementType.BOOL)
    attributes = {"body": _carry(ask.type)}
    runs = tuple(
        Run((narrow(turns, ElementType.INT64), true, value), (value,)) for turns in (3, 0, 1)
    )
    yield Draft(
        slug="carry", runs=runs, outputs=(ask.type,), attributes=attributes, oracle="native"
    )
    if ask.type.startswith("tensor("):
        yield _collect(ask)
    if ask.type == "tensor(float)":
        yield from _sums(ask)
        for slug, shapes in (
            ("shapes", ((2, 3), (5, 4), (0, 3), (2, 3))),
            ("scalar", ((),)),
            ("rank5", ((1, 2, 1, 2, 2),)),
        ):
            turns = narrow(2, ElementType.INT64)
            values = [ask.draw(f"{slug}{shape}").tensor(ask.element, shape) for shape in shapes]
            yield Draft(
                slug=slug,
                runs=tuple(Run((turns, true, v), (v,)) for v in values),
                outputs=(ask.type,),
                attributes=attributes,
                oracle="native",
            )


def _collect(ask: Ask) -> Draft:
    """A scan output: the carried value, once a turn."""
    value = hard(ask.draw("collect"), ask.element, (4, 6))
    body = _carry(ask.type)
    body.node.append(helper.make_node("Identity", ["value"], ["seen"], name="see"))
    body.output.append(helper.make_value_info("seen", type_proto(ask.type)))
    inputs = (narrow(3, ElementType.INT64), None, value)
    wide = widen(value)
    return ask.draft(
        "collect",
        inputs,
        [value, np.stack([wide] * 3)],
        outputs=(ask.type, ask.type),
        attributes={"body": body},
        oracle="native",
    )


def _sums(ask: Ask) -> Iterator[Draft]:
    """A body that computes: a running sum until it is large enough, with every way to end."""
    wide = np.array([1.0, 2.0, 4.0])
    start = narrow(np.zeros(3), ElementType.FLOAT)
    step, limit = narrow(wide, ElementType.FLOAT), narrow(9.0, ElementType.FLOAT)
    for slug, turns, first, count in (
        ("until", None, True, 3),
        ("counted", 2, None, 2),
        ("either", 7, True, 3),
        ("never", 5, False, 0),
    ):
        inputs: tuple[Value | None, ...] = (
            None if turns is None else narrow(turns, ElementType.INT64),
            None if first is None else narrow(first, ElementType.BOOL),
            start,
            step,
            limit,
        )
        sums = [wide * (i + 1) for i in range(count)]
        expected = [wide * count, np.stack(sums) if sums else np.zeros((0, 3))]
        yield ask.draft(
            slug,
            inputs,
            expected,
            outputs=(ask.type, ask.type),
            attributes={"body": _sum_body()},
            captured=2,
            oracle="native",
            dynamic_outputs=True,
        )


def _sum_body() -> Any:
    vector = type_proto("tensor(float)", (3,))
    scalar = type_proto("tensor(bool)", ())
    nodes = [
        helper.make_node("Add", ["total", "x3"], ["sum"], name="add"),
        helper.make_node("ReduceMax", ["sum"], ["top"], name="top", keepdims=0),
        helper.make_node("Less", ["top", "x4"], ["going"], name="less"),
        helper.make_node("Identity", ["sum"], ["seen"], name="see"),
    ]
    inputs = [
        helper.make_value_info("turn", type_proto("tensor(int64)", ())),
        helper.make_value_info("more", scalar),
        helper.make_value_info("total", vector),
    ]
    outputs = [
        helper.make_value_info("going", scalar),
        helper.make_value_info("sum", vector),
        helper.make_value_info("seen", vector),
    ]
    return helper.make_graph(nodes, "body", inputs, outputs)


@generates("Scan")
def scan(ask: Ask) -> Iterator[Draft]:
    """A state and a scanned input of the type, forward and backward, along another axis."""
    for slug, settings, axis, flipped in (
        ("forward", {}, 0, (False, False)),
        ("backward", {"scan_input_directions": [1]}, 0, (True, False)),
        ("backward-out", {"scan_output_directions": [1]}, 0, (False, True)),
        ("axis1", {"scan_input_axes": [1], "scan_output_axes": [-1]}, 1, (False, False)),
    ):
        if slug != "forward" and not (ask.full or slug == "backward"):
            continue
        draw = ask.draw(slug)
        state, x = hard(draw, ask.element, (4,)), hard(draw, ask.element, (4, 6))
        steps = np.moveaxis(widen(x), axis, 0)
        if flipped[0] != flipped[1]:
            steps = steps[::-1]
        expected = np.moveaxis(steps, 0, -1) if axis else steps
        attributes = {"body": _scan_body(ask.type), "num_scan_inputs": 1, **settings}
        yield ask.draft(
            slug,
            [state, x],
            [state, expected],
            outputs=(ask.type, ask.type),
            attributes=attributes,
            oracle="native",
        )
    if ask.full and is_float(ask.element):
        yield _running_sum(ask)


def _scan_body(type_: str) -> Any:
    infos = {n: helper.make_value_info(n, type_proto(type_)) for n in ("s", "e", "t", "f")}
    nodes = [
        helper.make_node("Identity", ["s"], ["t"], name="keep"),
        helper.make_node("Identity", ["e"], ["f"], name="copy"),
    ]
    inputs, outputs = [infos["s"], infos["e"]], [infos["t"], infos["f"]]
    return helper.make_graph(nodes, "body", inputs, outputs)


def _running_sum(ask: Ask) -> Draft:
    x: Tensor = ask.draw("sum").tensor(ask.element, (5, 2), 0, 4)
    infos = {n: helper.make_value_info(n, type_proto(ask.type, (2,))) for n in ("s", "e", "t", "f")}
    nodes = [
        helper.make_node("Add", ["s", "e"], ["t"], name="add"),
        helper.make_node("Identity", ["t"], ["f"], name="copy"),
    ]
    inputs, outputs = [infos["s"], infos["e"]], [infos["t"], infos["f"]]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    sums = np.cumsum(widen(x), axis=0)
    return ask.draft(
        "sum",
        [narrow(np.zeros(2), ask.element), x],
        [sums[-1], sums],
        outputs=(ask.type, ask.type),
        attributes={"body": body, "num_scan_inputs": 1},
        tolerance=elementary(ask.element, "Add", absolute=20.0),
        oracle="native",
    )
