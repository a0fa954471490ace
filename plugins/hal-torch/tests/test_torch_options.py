"""The options of compile: what each does, and that it leaves the process as it was."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hal_torch.options import TorchOptions
from hal_torch.runner import guarded
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.errors import UsageError

F = TensorProto.FLOAT
RNG = np.random.default_rng(4)


def model(opset=17):
    """A block of a network: matrix product, bias, norm, activation, softmax."""
    info = helper.make_tensor_value_info
    rng = np.random.default_rng(6)
    weights = {
        "w": rng.standard_normal((32, 16)).astype(np.float32) / 6,
        "b": rng.standard_normal(16).astype(np.float32),
        "scale": np.ones(16, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="matmul"),
        helper.make_node("Add", ["a", "b"], ["c"], name="add"),
        helper.make_node("LayerNormalization", ["c", "scale"], ["d"], name="norm"),
        helper.make_node("Relu", ["c"], ["e"], name="relu"),
        helper.make_node("Add", ["d", "e"], ["f"], name="residual"),
        helper.make_node("Softmax", ["f"], ["y"], name="softmax"),
        helper.make_node("Identity", ["e"], ["z"], name="identity"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", F, ["n", 32])],
        [info("y", F, None), info("z", F, None)],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return hal.Model(made.SerializeToString())


@pytest.fixture
def compiled(torch_backend, torch_cpu):
    return lambda made, **options: torch_backend.compile(torch_cpu, made, options)


def run(executable, x):
    found = executable.run({"x": hal.Tensor.from_numpy(x)})
    return [v.numpy() for v in found.values()]


X = RNG.standard_normal((8, 32)).astype(np.float32)


def test_lstm_of_a_version_without_bfloat16(compiled):
    """What follows it is not told a type by the standard: it is the LSTM's, and no string."""
    info = helper.make_tensor_value_info
    rng = np.random.default_rng(3)
    weights = {
        "w": rng.standard_normal((1, 16, 8)).astype(np.float32) / 3,
        "r": rng.standard_normal((1, 16, 4)).astype(np.float32) / 3,
    }
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["a"], name="lstm", hidden_size=4),
        helper.make_node("Transpose", ["a"], ["b"], name="turn", perm=[1, 0, 2, 3]),
        helper.make_node("Softmax", ["b"], ["y"], name="softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", F, [5, 2, 8])],
        [info("y", F, None)],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    made = hal.Model(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    x = rng.standard_normal((5, 2, 8)).astype(np.float32)
    (want,), (got,) = run(compiled(made), x), run(compiled(made, precision="bfloat16"), x)
    assert got.dtype == np.float32
    assert 0 < np.abs(got - want).max() < 1e-2
    np.testing.assert_allclose(got.sum(-1), 1, atol=1e-6)  # in bfloat16 it would be 3e-3 off


@pytest.mark.parametrize(
    ("precision", "least", "most"), [("bfloat16", 1e-4, 2e-2), ("float16", 1e-5, 3e-3)]
)
@pytest.mark.parametrize("mode", ["eager", "compile"])
def test_lower_precision_is_used_and_close(compiled, precision, least, most, mode):
    full, low = run(compiled(model()), X), run(compiled(model(), precision=precision, mode=mode), X)
    for a, b in zip(full, low, strict=True):
        assert a.dtype == b.dtype == np.float32
        error = np.linalg.norm(a - b) / np.linalg.norm(a)
        assert least < error < most


def test_lower_precision_keeps_norms_in_float32(compiled):
    executable = compiled(model(), precision="bfloat16")
    seen = {}

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            if isinstance(args[0], torch.Tensor):
                seen.setdefault(function._schema.name, set()).add(args[0].dtype)
            return found

    with Watch():
        run(executable, X)
    assert seen["aten::layer_norm"] == {torch.float32}
    assert seen["aten::softmax"] == {torch.float32}
    assert seen["aten::matmul"] == {torch.bfloat16}


def test_lower_precision_of_an_older_opset(compiled):
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"], name="m")]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", F, [4, 4])], [info("y", F, [4, 4])])
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    executable = compiled(hal.Model(old.SerializeToString()), precision="bfloat16")
    x = RNG.standard_normal((4, 4)).astype(np.float32)
    (got,) = run(executable, x)
    np.testing.assert_allclose(got, x @ x, rtol=5e-2, atol=5e-2)
    assert not np.allclose(got, x @ x, rtol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("opset", [8, 11, 17])
def test_outputs_have_the_models_types_at_every_precision(compiled, precision, opset):
    """Concat and Dropout do not list bfloat16 before opset 13: what they give is still lowered,
    and is widened where it leaves the model."""
    nodes = [
        helper.make_node("MatMul", ["x", "x"], ["m"], name="m"),
        helper.make_node("Concat", ["m", "m"], ["c"], name="c", axis=1),
        helper.make_node("Transpose", ["c"], ["t"], name="t"),
        helper.make_node("Dropout", ["t"], ["y"], name="d"),
        helper.make_node("ReduceMean", ["y"], ["z"], name="r", axes=[1]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", F, [4, 4])], [info(n, F, None) for n in ("c", "y", "z")]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)
    x = RNG.standard_normal((4, 4)).astype(np.float32)
    model = hal.Model(made.SerializeToString())
    want, got = run(compiled(model), x), run(compiled(model, precision=precision), x)
    for a, b in zip(want, got, strict=True):
        assert b.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=5e-2, atol=5e-2)
        assert not np.array_equal(a, b)


def test_compile_mode_compiles(compiled, caplog):
    executable = compiled(model(), mode="compile")
    with caplog.at_level(logging.WARNING, "hal_torch"):
        got = run(executable, X)
    assert not caplog.records
    for a, b in zip(run(compiled(model()), X), got, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch._C._has_mkldnn, reason="this torch is built without oneDNN")
def test_compile_mode_freezes_weights(compiled):
    """A weight that stays an argument is laid out anew in each run, and the Relu runs apart."""
    weight = numpy_helper.from_array(RNG.standard_normal((8, 4, 3, 3)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    info = helper.make_tensor_value_info
    shape = [1, 4, 16, 16]
    graph = helper.make_graph(nodes, "g", [info("x", F, shape)], [info("y", F, None)], [weight])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    executable = compiled(hal.Model(made.SerializeToString()), mode="compile")
    x = RNG.standard_normal(shape).astype(np.float32)
    (got,) = run(executable, x)
    (want,) = run(compiled(hal.Model(made.SerializeToString()), channels_last=False), x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run(executable, x)
    seen = {event.name for event in profile.events()}
    assert "mkldnn::_convolution_pointwise" in seen
    assert seen.isdisjoint({"aten::convolution", "aten::relu"})


def test_compile_mode_says_what_it_cannot_trace(compiled, caplog):
    info = helper.make_tensor_value_info
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["x"], ["b"], name=op)], op, [], [info("b", F, None)]
        )
        for op in ("Neg", "Exp")
    ]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], name="max", keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], name="cast", to=TensorProto.BOOL),
        helper.make_node(
            "If", ["c"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1]
        ),
    ]
    graph = helper.make_graph(nodes, "g", [info("x", F, [3])], [info("y", F, None)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    executable = compiled(hal.Model(made.SerializeToString()), mode="compile")
    with caplog.at_level(logging.WARNING, "hal_torch"):
        (got,) = run(executable, np.float32([0, 1, 2]))
    np.testing.assert_array_equal(got, [0, -1, -2])
    np.testing.assert_array_equal(run(executable, np.zeros(3, np.float32))[0], [1, 1, 1])
    assert "as in eager mode" in caplog.text


def test_threads_are_the_users(compiled):
    before = torch.get_num_threads()
    seen = []
    program = guarded(
        lambda values: seen.append(torch.get_num_threads()) or (),
        hal.Device("torch:cpu", "cpu"),
        TorchOptions(threads=before + 1),
    )
    program([])
    assert seen == [before + 1]
    assert torch.get_num_threads() == before
    run(compiled(model(), threads=1), X)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"presision": "bfloat16"}, "no option 'presision'. Did you mean 'precision'?"),
        ({"precision": "bfloat"}, "one of float32, float64, tf32, bfloat16, float16, got 'bfloat'"),
        ({"mode": "fast"}, "'mode' is one of eager, compile, got 'fast'"),
        ({"channels_last": "maybe"}, "'channels_last' is true or false, got 'maybe'"),
        ({"threads": -1}, "'threads' is a number of threads, got -1"),
        ({"threads": "many"}, "'threads' is a number of threads, got 'many'"),
    ],
)
def test_bad_options(compiled, options, message):
    with pytest.raises(UsageError) as caught:
        compiled(model(), **options)
    assert message in str(caught.value)
    assert "torch:cpu" in str(caught.value)


def test_options_as_text():
    device = hal.Device("torch:cpu", "cpu")
    found = TorchOptions.parse(device, {"channels_last": "False", "threads": "2"})
    assert found == TorchOptions(channels_last=False, threads=2)
