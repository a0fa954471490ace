"""Cases of older versions of what goes step by step: recurrent layers and Scan."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import GraphProto, helper

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.families.recurrent import recurrent
from hal_conformance.contract.numbers import narrow, widen
from hal_conformance.contract.older.table import older
from hal_conformance.contract.protos import type_proto
from hal_conformance.contract.tolerance import elementary

__all__: list[str] = []

_REASON = "onnx 1.23.2's evaluator knows no output_sequence"
_SUMS = """
    at = Constant <value_int = 1> ()
    sums = CumSum ({x}, at)
    beside = Unsqueeze (x1, at)
"""


@older("there is no layout: time comes first", RNN=(7,), GRU=(7,), LSTM=(7,))
def time_first(ask: Ask) -> Iterator[Draft]:
    """What the newest version does, but for its layout."""
    for draft in recurrent(ask):
        if "layout" not in draft.attributes:
            yield draft


@older("all steps are returned only on request", RNN=(1,), GRU=(3,), LSTM=(1,))
@older("all steps are returned only on request, and linear_before_reset does not exist", GRU=(1,))
def all_steps(ask: Ask) -> Iterator[Draft]:
    """With all steps, and the last ones alone."""
    for draft in recurrent(ask):
        count = len(draft.outputs)
        asked = dataclasses.replace(
            draft, attributes={**draft.attributes, "output_sequence": 1}, reason=_REASON
        )
        if draft.slug == "plain":
            made = ", ".join(f"y{i}" for i in range(count))
            same = f"{made} = {ask.name} <hidden_size = 3> (x0, x1, x2)"
            yield dataclasses.replace(asked, composition=same)
        elif draft.slug in ("bidirectional", "lengths"):
            yield asked
        elif draft.slug == "reverse":
            yield dataclasses.replace(draft, slug="last", outputs=("", *draft.outputs[1:]))
        elif draft.slug == "reset-after" and ask.operator.since_version == 3:
            yield asked


@older("there is a batch, each of its sequences with a length of its own", Scan=(8,))
def batched(ask: Ask) -> Iterator[Draft]:
    """A running sum of whole sequences, there and back, and the sum of short ones: what a scan
    output holds behind a sequence's end is left open."""
    state = narrow(np.array([[1.0, -2.0], [0.5, 4.0]]), ask.element)
    near = elementary(ask.element, "Add", absolute=20.0)
    whole = """
        y1 = Add (sums, beside)
        two = Constant <value_int = 2> ()
        y0 = Gather <axis = 1> (y1, two)
    """
    turned = """
        back = Constant <value_ints = [-1]> ()
        stop = Constant <value_ints = [-9]> ()
        along = Constant <value_ints = [1]> ()
        turned = Slice (x2, back, stop, along, back)
    """
    short = """
        last = Constant <value = int64[2, 1] {2, 0}> ()
        ends = GatherND <batch_dims = 1> (sums, last)
        y0 = Add (ends, x1)
    """
    for slug, lengths, attributes, same in (
        ("batch", None, {}, _SUMS.format(x="x2") + whole),
        ("backward", None, {"directions": [1]}, turned + _SUMS.format(x="turned") + whole),
        ("lengths", [3, 1], {}, _SUMS.format(x="x2") + short),
    ):
        x = ask.draw(slug).tensor(ask.element, (2, 3, 2), 0, 4)
        wide = widen(x)
        steps = wide[:, ::-1] if slug == "backward" else wide
        sums = widen(state)[:, None] + np.cumsum(steps, axis=1)
        last = sums[[0, 1], [n - 1 for n in lengths or (3, 3)]]
        scanned = lengths is None
        given = None if lengths is None else narrow(np.array(lengths), ElementType.INT64)
        settings = {"body": _sum(ask.type, scanned=scanned), "num_scan_inputs": 1, **attributes}
        yield ask.draft(
            slug,
            [given, state, x],
            [last, sums] if scanned else [last],
            outputs=(ask.type,) * (1 + scanned),
            attributes=settings,
            tolerance=near,
            composition=same,
        )


def _sum(type_: str, *, scanned: bool) -> GraphProto:
    """The state grows by an element of the sequence; what it grew to is returned if `scanned`."""
    infos: dict[str, Any] = {
        n: helper.make_value_info(n, type_proto(type_, (2,))) for n in ("s", "e", "t", "f")
    }
    nodes = [helper.make_node("Add", ["s", "e"], ["t"], name="add")]
    results = [infos["t"]]
    if scanned:
        nodes.append(helper.make_node("Identity", ["t"], ["f"], name="copy"))
        results.append(infos["f"])
    return helper.make_graph(nodes, "body", [infos["s"], infos["e"]], results)
