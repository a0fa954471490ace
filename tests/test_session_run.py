"""`hal.Session`: it behaves as onnxruntime's does on every engine, and refuses what is wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.backend import Ability
from hal.errors import ExecutionError, ModelError, UnsupportedError, UsageError
from hal.graph import read_signature
from hal.routing import Candidate, LocalEngine
from hal.session import Session

DEVICES = ("ort:cpu", "openvino:cpu", "torch:cpu", "reference:cpu")
F = TensorProto.FLOAT


def proto(nodes: list[Any], inputs: list[Any], outputs: list[Any], **given: Any) -> Any:
    initializers = given.pop("initializers", ())
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def info(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture(scope="module")
def two() -> Any:
    """p = x + y, q = x * y over float [n, 3] and [3]."""
    return proto(
        [
            helper.make_node("Add", ["x", "y"], ["p"], "add"),
            helper.make_node("Mul", ["x", "y"], ["q"], "mul"),
        ],
        [info("x", F, ["n", 3]), info("y", F, [3])],
        [info("p", F, ["n", 3]), info("q", F, ["n", 3])],
    )


@pytest.fixture
def feeds() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(1)
    return {
        "x": rng.standard_normal((4, 3)).astype(np.float32),
        "y": rng.standard_normal(3).astype(np.float32),
    }


@pytest.fixture(params=DEVICES, scope="module")
def session(request: pytest.FixtureRequest, two: Any) -> Iterator[Session]:
    with hal.load(two, device=request.param) as loaded:
        yield loaded


@pytest.mark.parametrize("names", [None, [], ["q"], ["q", "p"], ["p", "p"]])
def test_outputs_are_onnxruntimes(
    session: Session, two: Any, feeds: dict[str, Any], names: list[str] | None
) -> None:
    expected = onnxruntime.InferenceSession(two.SerializeToString()).run(names, feeds)
    got = session.run(names, feeds)
    assert isinstance(got, list) and len(got) == len(expected)
    for a, b in zip(expected, got, strict=True):
        assert a.dtype == b.dtype and a.flags.writeable == b.flags.writeable
        np.testing.assert_allclose(b, a, rtol=1e-6)


@pytest.mark.parametrize("order", ["read-only", "not contiguous"])
def test_feeds_of_any_memory_from_several_threads(session: Session, order: str) -> None:
    """An engine that takes only some memory over must keep its copy for as long as it runs."""
    x = np.arange(30_000, dtype=np.float32).reshape(3, 10_000).T
    y = np.ones(3, np.float32)
    if order == "read-only":
        x = np.ascontiguousarray(x)
        x.flags.writeable = y.flags.writeable = False

    def wrong() -> int:
        return sum(
            not np.array_equal(session.run(["p"], {"x": x, "y": y})[0], x + y) for _ in "12345678"
        )

    with ThreadPoolExecutor(3) as pool:
        assert [job.result() for job in [pool.submit(wrong) for _ in range(3)]] == [0, 0, 0]


def test_what_it_says_of_itself(session: Session, two: Any) -> None:
    ours = [(i.name, i.type, list(i.shape or ())) for i in session.get_inputs()]
    theirs = onnxruntime.InferenceSession(two.SerializeToString())
    assert ours == [(i.name, i.type, i.shape) for i in theirs.get_inputs()]
    assert [o.name for o in session.outputs] == ["p", "q"]
    assert session.device in DEVICES
    assert {n.node: n.device for n in session.placement.nodes} == dict.fromkeys(
        ["add", "mul"], session.device
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "no value for input 'y'"),
        ({"z": np.zeros(3, np.float32)}, "the model has no input 'z'"),
        ({"x": np.zeros((4, 3), np.float64)}, r"input 'x': expected .*float"),
        ({"x": np.zeros((4, 2), np.float32)}, r"input 'x': expected .*3\], got .*4, 2\]"),
        ({"y": "text"}, "input 'y': expected "),
    ],
)
def test_wrong_feeds_are_named(
    session: Session, feeds: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    wrong = {k: v for k, v in {**feeds, **change}.items() if v is not None}
    with pytest.raises(UsageError, match=message):
        session.run(None, wrong)
    assert len(session.run(None, feeds)) == 2, "and the session goes on"


def test_wrong_output_names_are_named(session: Session, feeds: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"no output 'r'.* It has 'p', 'q'|no output 'r'"):
        session.run(["r"], feeds)
    with pytest.raises(UsageError, match="feeds are a dict"):
        session.run(None, [feeds["x"]])  # type: ignore[arg-type]


def test_results_are_the_callers(session: Session, feeds: dict[str, Any]) -> None:
    (first,) = session.run(["p"], feeds)
    kept = first.copy()
    first += 1
    (second,) = session.run(["p"], feeds)
    np.testing.assert_array_equal(second, kept)
    feeds["x"][:] = 0
    np.testing.assert_array_equal(first, kept + 1)


def test_threads_and_futures(session: Session, feeds: dict[str, Any]) -> None:
    inputs = [{**feeds, "x": feeds["x"] * i} for i in range(12)]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            (p,) = session.run(["p"], inputs[i])
            if not np.allclose(p, inputs[i]["x"] + feeds["y"]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    futures = [session.run_async(["q"], given) for given in inputs]
    for given, future in zip(inputs, futures, strict=True):
        np.testing.assert_allclose(future.result(60)[0], given["x"] * feeds["y"], rtol=1e-6)
    for thread in threads:
        thread.join()
    assert not wrong
    with pytest.raises(UsageError):
        session.run_async(None, {}).result(60)


def test_bound_inputs_are_seen_in_place(session: Session, feeds: dict[str, Any]) -> None:
    bound = session.bind(feeds)
    assert tuple(bound.names) == ("p", "q")
    feeds["x"][:] = 2
    p, q = (np.from_dlpack(value) for value in bound.run())
    np.testing.assert_allclose(p, feeds["x"] + feeds["y"], rtol=1e-6)
    np.testing.assert_allclose(q, feeds["x"] * feeds["y"], rtol=1e-6)
    with pytest.raises(UsageError, match="no value for input 'y'"):
        session.bind({"x": feeds["x"]})


def test_a_closed_session_says_so(two: Any, feeds: dict[str, Any]) -> None:
    session = hal.load(two, device="ort:cpu")
    session.run_async(None, feeds)
    session.close()
    session.close()
    for call in (
        lambda: session.run(None, feeds),
        lambda: session.run_async(None, feeds),
        lambda: session.bind(feeds),
        lambda: session.placement,
    ):
        with pytest.raises(UsageError, match="closed"):
            call()


@pytest.mark.parametrize("device", ["ort:cpu", "reference:cpu"])
def test_strings_sequences_and_absent_optionals(device: str) -> None:
    text = proto(
        [helper.make_node("Identity", ["s"], ["t"])],
        [info("s", TensorProto.STRING, [None])],
        [info("t", TensorProto.STRING, [None])],
    )
    given = np.array(["a", "ünïcödé", ""], dtype=object)
    with hal.load(text, device=device) as session:
        (out,) = session.run(None, {"s": given})
        assert out.dtype == object and out.tolist() == given.tolist()
        assert session.run(None, {"s": np.array(["x", "yz"])})[0].tolist() == ["x", "yz"]
    kind = helper.make_tensor_sequence_value_info
    sequence = proto(
        [
            helper.make_node("SequenceInsert", ["s", "x"], ["t"]),
            helper.make_node("SequenceLength", ["t"], ["n"]),
        ],
        [kind("s", F, None), info("x", F, [2])],
        [kind("t", F, None), info("n", TensorProto.INT64, [])],
    )
    x = np.arange(2, dtype=np.float32)
    with hal.load(sequence, device=device) as session:
        items, n = session.run(None, {"s": [x, x + 1], "x": x + 2})
        assert isinstance(items, list) and n == 3
        np.testing.assert_array_equal(np.stack(items), [x, x + 1, x + 2])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("isolate", [False, True])
def test_bfloat16_by_ml_dtypes(device: str, isolate: bool) -> None:
    kind = TensorProto.BFLOAT16
    model = proto(
        [helper.make_node("Identity", ["x"], ["y"])], [info("x", kind, [2])], [info("y", kind, [2])]
    )
    given = np.array([1.5, -2], dtype=ml_dtypes.bfloat16)
    with hal.load(model, device=device, isolate=isolate) as session:
        (out,) = session.run(None, {"x": given})
        assert out.dtype == given.dtype and out.tolist() == given.tolist()
        with pytest.raises(UsageError, match=r"expected .*bfloat16"):
            session.run(None, {"x": np.zeros(2, np.float32)})


@pytest.mark.parametrize("device", ["ort:cpu", "openvino:cpu", "torch:cpu"])
def test_odd_arrays(device: str) -> None:
    model = proto(
        [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Not", ["b"], ["c"])],
        [info("x", F, [None, None]), info("b", TensorProto.BOOL, [None])],
        [info("y", F, [None, None]), info("c", TensorProto.BOOL, [None])],
    )
    b = np.array([True, False])
    with hal.load(model, device=device) as session:
        for x in (
            np.arange(12, dtype=np.float32).reshape(3, 4).T,
            np.arange(12, dtype=np.float32).reshape(3, 4)[::-2],
            np.zeros((0, 3), np.float32),
            np.arange(12, dtype=np.float32).reshape(3, 4)[:, 1:2],
        ):
            y, c = session.run(None, {"x": x, "b": b})
            assert y.shape == x.shape and c.tolist() == [False, True]
            np.testing.assert_array_equal(y, x + x)


def test_initializers_may_be_fed() -> None:
    weight = helper.make_tensor("w", F, [2], [1.0, 2.0])
    model = proto(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [info("x", F, [2]), info("w", F, [2])],
        [info("y", F, [2])],
        initializers=[weight],
    )
    x = np.zeros(2, np.float32)
    for device in ("ort:cpu", "torch:cpu", "reference:cpu"):
        with hal.load(model, device=device) as session:
            assert [i.name for i in session.inputs] == ["x"]
            assert session.run(None, {"x": x})[0].tolist() == [1, 2]
            assert session.run(None, {"x": x, "w": x + 5})[0].tolist() == [5, 5]


def test_models_come_as_path_bytes_or_proto(
    two: Any, feeds: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "two.onnx"
    onnx.save(two, path)
    weights = proto(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [info("x", F, [64])],
        [info("y", F, [64])],
        initializers=[numpy_helper.from_array(np.arange(64, dtype=np.float32), "w")],
    )
    outside = tmp_path / "outside.onnx"
    onnx.save(weights, outside, save_as_external_data=True, location="w.bin", size_threshold=0)
    for source in (path, str(path), path.read_bytes(), two, hal.Model.from_path(path)):
        with hal.load(source, device="ort:cpu") as session:
            assert len(session.run(None, feeds)) == 2
    for device in DEVICES:
        with hal.load(outside, device=device) as session:
            x = np.ones(64, np.float32)
            np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.arange(64) + 1)
    with pytest.raises(ModelError, match="without its folder"):
        hal.load(outside.read_bytes(), device="ort:cpu")
    (tmp_path / "w.bin").write_bytes(b"short")
    with pytest.raises(ModelError, match="of a file of 5 bytes"):
        hal.load(outside, device="ort:cpu")


@pytest.mark.parametrize("data", [b"", b"\x08", b"not a model", b"\x3a\x00"])
def test_no_model_is_a_model_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(ModelError):
            hal.load(source, device="ort:cpu")


def test_names_that_do_not_exist(two: Any) -> None:
    with pytest.raises(UsageError, match="Did you mean 'ort:cpu'"):
        hal.load(two, device="ort:cpi")
    with pytest.raises(UsageError, match="no backend named 'orrt'"):
        hal.load(two, device="orrt:cpu")
    with pytest.raises(UsageError, match="no option 'treads'"):
        hal.load(two, device="ort:cpu", options={"treads": 1})
    with pytest.raises(UsageError, match=r"a path, bytes or an onnx\.ModelProto, got a int"):
        hal.load(3)


class Plain:
    """An executable with the seam's one call, which must not be in two threads at once."""

    def __init__(self) -> None:
        self.inside = 0

    def run(self, inputs: Mapping[str, hal.Value]) -> dict[str, hal.Value]:
        self.inside += 1
        if self.inside > 1:
            raise RuntimeError("two at once")
        x, y = (inputs[n] for n in "xy")
        assert isinstance(x, hal.Tensor) and isinstance(y, hal.Tensor)
        p, q = x.numpy() + y.numpy(), x.numpy() * y.numpy()
        self.inside -= 1
        return {"q": hal.Tensor.from_numpy(q), "p": hal.Tensor.from_numpy(p)}


def plain(two: Any, abilities: frozenset[Ability] = frozenset()) -> Session:
    model = hal.Model.of(two)
    signature = read_signature(model)
    candidate = Candidate(hal.Device("plain:cpu", "cpu"))
    return Session(model, signature, LocalEngine(Plain(), abilities, signature, candidate))


def test_an_executable_with_the_basic_seam_is_enough(two: Any, feeds: dict[str, Any]) -> None:
    session = plain(two)
    p, q = session.run(None, feeds)
    np.testing.assert_allclose(p, feeds["x"] + feeds["y"])
    np.testing.assert_allclose(session.run(["q"], feeds)[0], q)
    np.testing.assert_allclose(session.bind(feeds).run()[0], p)
    with pytest.raises(UsageError, match="no value for input 'y'"):
        session.run(None, {"x": feeds["x"]})
    with pytest.raises(UnsupportedError, match="does not report placement"):
        _ = session.placement
    futures = [session.run_async(None, feeds) for _ in range(64)]
    assert all(np.allclose(f.result(60)[1], q) for f in futures)
    session.close()


def test_what_an_executable_raises_is_a_hal_error(two: Any, feeds: dict[str, Any]) -> None:
    session = plain(two, frozenset({Ability.NUMPY, Ability.THREAD_SAFE_RUN}) - {Ability.NUMPY})
    engine: Any = session._engine
    engine._executable.inside = 1
    with pytest.raises(ExecutionError, match=r"plain:cpu failed: RuntimeError: two at once"):
        session.run(None, feeds)
