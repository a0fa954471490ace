"""Shapes that come again get a compiled model of their own."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hal_openvino._forms import Forms
from onnx import TensorProto, helper

from hal import Tensor
from hal.errors import UsageError

FLOAT = TensorProto.FLOAT


@pytest.fixture
def product(build):
    """x of [n, 4] against itself, and its sum."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
        helper.make_node("ReduceSum", ["y"], ["s"], keepdims=0),
    ]
    return build(nodes, {"x": (FLOAT, ["n", 4])}, {"y": (FLOAT, ["n", "n"]), "s": (FLOAT, [])})


def drawn(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 4), np.float32)


@pytest.mark.parametrize("numpy", [False, True])
def test_all_shapes_give_right_results_before_and_after(openvino, cpu, product, numpy):
    executable = openvino.compile(cpu, product, {})
    for seed, n in enumerate([3, 3, 3, 3, 5, 3, 1, 0, 5, 3, *[5] * 12, 3, 5, 7]):
        x = drawn(n, seed)
        if numpy:
            y, total = executable.run_numpy(None, {"x": x})
        else:
            got = executable.run({"x": Tensor.from_numpy(x)})
            y, total = got["y"].numpy(), got["s"].numpy()
        np.testing.assert_allclose(y, x @ x.T, rtol=1e-5)
        np.testing.assert_allclose(total, (x @ x.T).sum(), rtol=1e-5)
    made = executable._forms._forms
    assert set(made) == {((3, 4),), ((5, 4),)}
    assert all(not form.compiled.inputs[0].partial_shape.is_dynamic for form in made.values())


def test_the_usual_one_has_open_dimensions(openvino, cpu, product):
    executable = openvino.compile(cpu, product, {})
    assert executable._usual.compiled.inputs[0].partial_shape.is_dynamic


def test_option_turns_it_off(openvino, cpu, product, relu):
    assert openvino.compile(cpu, product, {"fixed_shapes": False})._forms is None
    assert openvino.compile(cpu, relu, {})._forms is None  # whose dimensions are fixed
    with pytest.raises(UsageError, match="fixed_shapes is true or false, got 1"):
        openvino.compile(cpu, product, {"fixed_shapes": 1})


def test_each_needs_more_calls_than_the_one_before():
    made = []
    forms = Forms(("x",), lambda shapes: made.append(shapes["x"]) or len(made))

    def calls_until_made(n: int) -> int:
        for i in range(1, 1000):
            if forms.of({"x": drawn(n)}) is not None:
                return i
        return 0

    assert [calls_until_made(n) for n in (1, 2, 3)] == [3, 12, 48]
    assert [calls_until_made(n) for n in (1, 2, 3)] == [1, 1, 1]
    assert made == [(1, 4), (2, 4), (3, 4)]
    assert [calls_until_made(n) for n in (4, 5)] == [192, 768]
    assert len(forms._forms) == 4
    assert forms.of({"x": drawn(1)}) is None  # the oldest has gone


def test_what_cannot_be_made_is_asked_for_once():
    asked = []

    def make(shapes):
        asked.append(shapes)
        raise RuntimeError("no")

    forms = Forms(("x",), make)
    assert [forms.of({"x": drawn(2)}) for _ in range(20)] == [None] * 20
    assert len(asked) == 1
    assert forms.of({}) is None


def test_other_threads_do_not_wait_for_the_compiler():
    inside, go = threading.Event(), threading.Event()

    def make(shapes):
        inside.set()
        assert go.wait(30)
        return "made"

    forms = Forms(("x",), make)
    given = {"x": drawn(2)}
    assert [forms.of(given) for _ in range(2)] == [None, None]
    found = []
    thread = threading.Thread(target=lambda: found.append(forms.of(given)))
    thread.start()
    assert inside.wait(30)
    assert forms.of(given) is None
    go.set()
    thread.join()
    assert found == ["made"]
    assert forms.of(given) == "made"
