"""Every value that HAL knows comes back from a host as it went in, by both ways."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hal
from hal import ElementType, MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.errors import ExecutionError, UnsupportedError, UsageError
from hal.host import Host, HostedExecutable

PLUGIN = """
import hal

class Echo:
    def __init__(self, model, options):
        self.model, self.options, self.closed = model, options, False
    def run(self, inputs):
        if "about" in inputs:
            about = [self.model.data.hex(), str(self.model.folder), repr(self.options)]
            return {"about": hal.Tensor.from_numpy(about)}
        return dict(inputs)
    def placement(self):
        return hal.Placement.everywhere(["a", "b"], "echo:cpu", hal.Evidence.SOLE)
    def close(self):
        print("closed", flush=True)
        open(self.options["mark"], "w").close()

class Backend:
    def devices(self):
        about = dict(name="Écho", memory=7, emulated=True, versions={"d": "1"})
        return [hal.Device("echo:cpu", "cpu", **about)]
    def supports(self, device, model):
        bad = hal.UnsupportedNode("n", "Abs-13", f"{device.id} {len(model.data)}")
        return hal.Support((bad,))
    def compile(self, device, model, options):
        return Echo(model, options)

@hal.hookimpl
def hal_backends():
    able = frozenset({hal.Ability.PLACEMENT, hal.Ability.CLOSE})
    return [hal.BackendSpec("echo", Backend, abilities=able), hal.BackendSpec("plain", Backend)]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin")
    (path / "echo_plugin.py").write_text(PLUGIN, encoding="utf-8")
    return path


def start(folder: Path, backend: str = "echo", **options: Any) -> Host:
    return Host("echo_plugin", backend, env={"PYTHONPATH": str(folder)}, **options)


@pytest.fixture(scope="module", params=["shared", "inline"])
def host(request: pytest.FixtureRequest, folder: Path) -> Iterator[Host]:
    with start(folder, shared_memory=request.param == "shared") as host:
        host.ping()
        assert host.shares_memory == (request.param == "shared" and os.name == "posix")
        yield host


@pytest.fixture(scope="module")
def echo(host: Host) -> HostedExecutable:
    return host.compile("echo:cpu", hal.Model(b"model"))


def same(a: Value | None, b: Value | None) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (a.element_type, a.shape, bytes(a.data)) == (b.element_type, b.shape, bytes(b.data))
    if isinstance(a, SequenceValue) and isinstance(b, SequenceValue):
        return (a.type, len(a.items)) == (b.type, len(b.items)) and all(map(same, a.items, b.items))
    if isinstance(a, OptionalValue) and isinstance(b, OptionalValue):
        return a.type == b.type and same(a.value, b.value)
    if isinstance(a, MapValue) and isinstance(b, MapValue):
        return a.type == b.type and same(a.keys, b.keys) and same(a.values, b.values)
    return a is None and b is None


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
text = st.one_of(st.text(max_size=5), st.binary(max_size=5))  # bytes that are no UTF-8 as well


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    element_type = draw(st.sampled_from(ElementType))
    shape = draw(shapes)
    count = int(np.prod(shape, dtype=int))
    if element_type is ElementType.STRING:
        strings = np.empty(count, dtype=object)
        strings[:] = draw(st.lists(text, min_size=count, max_size=count))
        return Tensor.from_numpy(strings.reshape(shape))
    size = element_type.nbytes(count)
    return Tensor(element_type, shape, memoryview(draw(st.binary(min_size=size, max_size=size))))


def maps() -> st.SearchStrategy[MapValue]:
    return st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.floats(width=32), max_size=4).map(
        lambda d: MapValue(
            "map(int64,tensor(float))",
            Tensor.from_numpy(np.array(list(d), np.int64)),
            Tensor.from_numpy(np.array(list(d.values()), np.float32)),
        )
    )


values: st.SearchStrategy[Value] = st.recursive(
    st.one_of(tensors(), maps()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda i: SequenceValue("seq(...)", tuple(i))),
        st.one_of(st.none(), inner).map(lambda v: OptionalValue("optional(...)", v)),
    ),
    max_leaves=6,
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(text.map(lambda t: t if isinstance(t, str) else "b"), values, max_size=4))
def test_host_values_any_round_trip(echo: HostedExecutable, inputs: dict[str, Value]) -> None:
    inputs.pop("about", None)
    got = echo.run(inputs)
    assert list(got) == list(inputs)
    assert all(same(inputs[name], got[name]) for name in inputs)


@pytest.mark.parametrize("element_type", list(ElementType), ids=lambda e: e.onnx_name)
def test_host_values_large_round_trip(echo: HostedExecutable, element_type: ElementType) -> None:
    count = 300_001
    if element_type is ElementType.STRING:
        big = Tensor.from_numpy([f"{i}\udcff" for i in range(30_001)])
    else:
        octets = np.random.default_rng(0).integers(0, 256, element_type.nbytes(count), np.uint8)
        big = Tensor(element_type, (count,), memoryview(octets.tobytes()))
    small = Tensor.from_numpy(np.float32(3))
    nested = SequenceValue("seq(tensor)", (small, big))
    got = echo.run({"big": big, "nested": nested, "small": small})
    assert same(got["big"], big) and same(got["nested"], nested) and same(got["small"], small)


def test_host_values_big_endian_views_and_fortran_order(echo: HostedExecutable) -> None:
    array = np.asfortranarray(np.arange(120_000, dtype=">f4").reshape(300, 400))[::2]
    got = echo.run({"x": Tensor.from_numpy(array)})["x"]
    assert isinstance(got, Tensor)
    np.testing.assert_array_equal(got.numpy(), array)


def test_host_values_results_are_aligned_and_read_only(echo: HostedExecutable) -> None:
    for count in (3, 100_000):
        odd = Tensor.from_numpy(np.ones(count * 8 + 1, np.uint8))
        got = echo.run({"odd": odd, "x": Tensor.from_numpy(np.ones(count))})["x"]
        assert isinstance(got, Tensor)
        array = got.numpy()
        assert array.flags.aligned and array.ctypes.data % 64 == 0
        assert got.data.readonly and not array.flags.writeable


def test_host_values_a_view_that_is_not_bytes(echo: HostedExecutable) -> None:
    array: Any = np.arange(6, dtype=np.float32).reshape(2, 3)
    view = memoryview(array)
    x = Tensor(ElementType.FLOAT, (2, 3), view)
    assert same(
        echo.run({"x": x})["x"], Tensor(ElementType.FLOAT, (2, 3), memoryview(view.tobytes()))
    )


def test_host_values_what_is_no_value_is_named(echo: HostedExecutable) -> None:
    with pytest.raises(TypeError, match="y: ndarray is no value"):
        echo.run({"y": np.ones(3)})  # type: ignore[dict-item]


def test_host_values_devices_support_and_placement(host: Host, echo: HostedExecutable) -> None:
    (device,) = host.devices()
    assert (device.name, device.memory, device.emulated) == ("Écho", 7, True)
    assert device.versions == {"d": "1"}
    support = host.supports(device, hal.Model(b"12345"))
    assert support.unsupported == (hal.UnsupportedNode("n", "Abs-13", "echo:cpu 5"),)
    assert echo.placement() == hal.Placement.everywhere("ab", "echo:cpu", hal.Evidence.SOLE)


def test_host_values_model_folder_and_options_arrive(host: Host, tmp_path: Path) -> None:
    (device,) = host.devices()
    data = bytes(range(256)) * 1000
    options: dict[str, hal.backend.Option] = {"a": 1, "b": 0.5, "c": True, "d": "x"}
    executable = host.compile(device, hal.Model(data, tmp_path), options)
    got = executable.run({"about": Tensor.from_numpy(np.zeros(1))})["about"]
    assert isinstance(got, Tensor)
    assert got.numpy().tolist() == [data.hex(), str(tmp_path), repr(options)]


def test_host_values_unknown_device_gets_a_suggestion(host: Host) -> None:
    with pytest.raises(UsageError, match="Did you mean 'echo:cpu'"):
        host.compile("echo:cpuu", hal.Model(b"x"))


def test_host_values_close_reaches_the_backend(host: Host, tmp_path: Path) -> None:
    marks = [tmp_path / "closed", tmp_path / "collected"]
    for mark in marks:
        executable = host.compile("echo:cpu", hal.Model(b"x"), {"mark": str(mark)})
        if mark is marks[0]:
            executable.close()
            executable.close()
            with pytest.raises(UsageError, match="closed"):
                executable.run({})
    del executable
    host.ping()
    assert all(mark.exists() for mark in marks)


def test_host_values_only_an_explicit_close_can_fail(host: Host) -> None:
    executable = host.compile("echo:cpu", hal.Model(b"x"))
    with pytest.raises(ExecutionError, match="KeyError: 'mark'"):
        executable.close()
    host.compile("echo:cpu", hal.Model(b"x"))  # collected at once; its close fails unheard
    host.ping()


def test_host_values_undeclared_abilities_are_not_used(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "closed"
    with start(folder, "plain") as host:
        executable = host.compile("echo:cpu", hal.Model(b"x"), {"mark": str(mark)})
        with pytest.raises(UnsupportedError, match="does not report placement"):
            executable.placement()
        executable.close()
        host.ping()
    assert not mark.exists()


def test_host_values_a_closed_host_says_so(folder: Path) -> None:
    host = start(folder)
    host.close()
    with pytest.raises(UsageError, match="closed"):
        host.devices()
