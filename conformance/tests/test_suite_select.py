from __future__ import annotations

import pytest
from hal_conformance.case import SUITES, CaseFacts, load_suite, select

from hal.errors import UsageError


def facts(case_id, operators=("Abs",), cells=()):
    return CaseFacts(
        id=case_id,
        suite="onnx",
        nodes=("n",),
        operators=operators,
        cells=cells,
        single_operator=operators[0],
        expanded=False,
        opset=13,
        ir_version=7,
        rtol=1e-3,
        atol=1e-7,
    )


CASES = [
    facts("onnx/node/test_abs", ("Abs",), ("Abs-13/T/tensor(float)",)),
    facts("onnx/node/test_softmax_axis_0", ("Softmax",), ("Softmax-13/T/tensor(float)",)),
    facts("onnx/node/test_softmax_expanded", ("Div", "Exp"), ("Exp-13/T/tensor(float)",)),
    facts("onnx/simple/test_sign[1]", ("Sign",)),
]


@pytest.mark.parametrize(
    ("patterns", "indices"),
    [
        ([], [0, 1, 2, 3]),
        (["abs"], [0]),
        (["SoftMax"], [1, 2]),
        (["onnx/node/*"], [0, 1, 2]),
        (["node/*"], None),  # a glob is over the whole id
        (["*_axis_?"], [1]),
        (["simple/", "onnx/node/test_abs"], [0, 3]),
        (["."], None),  # no regular expression
    ],
)
def test_patterns(patterns, indices):
    if indices is None:
        with pytest.raises(UsageError, match="no case matches"):
            select(CASES, patterns)
    else:
        assert select(CASES, patterns) == [CASES[i] for i in indices]


def test_every_pattern_must_match():
    with pytest.raises(UsageError, match=r"'sofmax'\..* Did you mean 'softmax'"):
        select(CASES, ["abs", "sofmax"])


def test_a_part_of_an_id_that_is_close():
    with pytest.raises(UsageError, match=r"Did you mean 'softmax'"):
        select(CASES, ["onnx/Sofmax-13/float"])


def test_operators_and_cells():
    assert select(CASES, operators={"Exp", "Sign"}) == [CASES[3]]
    assert select(CASES, operators={"Exp", "Div"}) == [CASES[2]]
    assert select(CASES, cells={"Exp-13/T/tensor(float)", "Abs-13/T/tensor(float)"}) == [
        CASES[0],
        CASES[2],
    ]
    assert select(CASES, ["softmax"], operators={"Abs"}) == []


def test_unknown_suite():
    with pytest.raises(UsageError, match=r"no suite 'onx'\. Did you mean 'onnx'"):
        load_suite("onx")


def test_every_suite_has_a_loader():
    for name in SUITES:
        assert load_suite(name).name == name
