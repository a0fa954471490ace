"""A session goes on when its engine dies, hangs or begins to answer wrongly."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import hal
from hal import Device
from hal.errors import CrashError, ExecutionError, UnavailableError, UsageError
from hal.graph import read_signature
from hal.routing import Candidate
from hal.routing._resilient import ResilientEngine

F = TensorProto.FLOAT
ONE = {"x": np.array([1, 2], np.float32)}


@pytest.fixture(scope="module")
def double() -> Any:
    """y = x + x over float [2]."""
    infos = [helper.make_tensor_value_info(n, F, [2]) for n in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "g", *([i] for i in infos)
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Fake:
    """An engine that answers 2x, until `fail` says otherwise."""

    def __init__(self, candidate: Candidate, fail: Callable[[], None]) -> None:
        self.candidate, self._fail, self.closed = candidate, fail, False

    def run(self, names: Any, feeds: Any) -> list[Any]:
        self._fail()
        return [feeds["x"] * 2]

    def placement(self) -> Any:
        return hal.Placement(())

    def bind(self, feeds: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


class Bench:
    """Candidates named by letters, whose engines fail as they are told."""

    def __init__(self, names: str, model: Any, **options: Any) -> None:
        self.errors: dict[str, Exception] = {}
        self.unopenable: set[str] = set()
        self.opened: list[str] = []
        self.now = 0.0
        candidates = [Candidate(Device(f"fake:{name}", "cpu")) for name in names]
        signature = read_signature(hal.Model(model.SerializeToString()))
        self.engine = ResilientEngine(
            candidates, self.open, signature, clock=lambda: self.now, **options
        )

    def open(self, candidate: Candidate) -> Any:
        name = candidate.device.id[-1]
        if name in self.unopenable:
            raise UnavailableError(f"{name} is gone")
        self.opened.append(name)

        def fail() -> None:
            if name in self.errors:
                raise self.errors[name]

        return Fake(candidate, fail)

    def run(self) -> str:
        """Which candidate answers."""
        np.testing.assert_array_equal(self.engine.run(None, ONE)[0], [2, 4])
        return self.engine.candidate.device.id[-1]

    def settle(self) -> None:
        if self.engine._warming is not None:
            self.engine._warming.join()


def test_next_candidate_answers_the_request(double: Any, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench("abc", double)
    assert bench.run() == "a"
    bench.errors["a"] = CrashError("the driver died")
    with caplog.at_level(logging.WARNING, "hal.session"):
        assert bench.run() == "b"
        assert bench.run() == "b"
    assert [r.getMessage() for r in caplog.records] == [
        "fake:a failed and is put aside: the driver died"
    ]
    assert bench.engine.events == ["fake:a failed and is put aside: the driver died"]
    assert bench.opened == ["a", "b"]


def test_device_is_tried_again_after_a_while(double: Any) -> None:
    bench = Bench("ab", double, aside=30.0)
    bench.errors["a"] = CrashError("once")
    assert bench.run() == "b"
    del bench.errors["a"]
    bench.now = 29.0
    bench.run()
    bench.settle()
    assert bench.opened == ["a", "b"]
    bench.now = 31.0
    bench.run()
    bench.settle()
    assert bench.run() == "a"
    bench.errors["a"] = CrashError("again")
    assert bench.run() == "b"
    bench.now = 31.0 + 59.0  # put aside for twice as long
    bench.run()
    bench.settle()
    assert bench.run() == "b"


def test_all_dead_is_one_clear_error(double: Any) -> None:
    bench = Bench("ab", double)
    bench.errors = {"a": CrashError("dead"), "b": ExecutionError("no memory")}
    with pytest.raises(UnavailableError, match="no candidate is left") as caught:
        bench.run()
    assert "fake:a failed and is put aside: dead" in str(caught.value)
    assert "fake:b failed and is put aside: no memory" in str(caught.value)
    bench.errors = {}
    assert bench.run() in "ab"  # the next request tries again


def test_only_candidate_is_opened_anew(double: Any) -> None:
    bench = Bench("a", double)
    bench.errors["a"] = CrashError("dead")
    with pytest.raises(UnavailableError, match="no candidate is left"):
        bench.run()
    assert bench.opened == ["a", "a"]
    bench.errors = {}
    assert bench.run() == "a"


def test_candidate_that_does_not_open_is_passed_over(double: Any) -> None:
    bench = Bench("abc", double)
    bench.errors["a"], bench.unopenable = CrashError("dead"), {"b"}
    assert bench.run() == "c"


def test_standby_is_open_before_it_is_needed(double: Any) -> None:
    bench = Bench("abc", double, standby=True)
    bench.settle()
    assert bench.opened == ["a", "b"]
    bench.errors["a"] = CrashError("dead")
    assert bench.run() == "b"
    bench.settle()
    assert bench.opened == ["a", "b", "c"]


def test_wrong_feeds_are_no_failure_of_the_device(double: Any) -> None:
    bench = Bench("ab", double)
    bench.errors["a"] = UsageError("no input 'z'")
    with pytest.raises(UsageError, match="no input 'z'"):
        bench.run()
    assert bench.opened == ["a"] and bench.engine.events == []


class Every:
    """A check that finds the answers of some calls wrong."""

    def __init__(self, wrong: set[int]) -> None:
        self.wrong, self.calls, self.closed = wrong, 0, False

    def __call__(self, feeds: Any, outputs: Any) -> str:
        assert list(outputs) == ["y"]
        self.calls += 1
        return "off by 3" if self.calls in self.wrong else ""

    def close(self) -> None:
        self.closed = True


def test_device_that_answers_wrongly_is_put_aside(double: Any) -> None:
    check = Every({2})
    bench = Bench("ab", double, check=check, every=3)
    assert [bench.run() for _ in range(5)] == ["a"] * 5
    assert check.calls == 1
    assert bench.run() == "b"
    assert bench.engine.events == ["fake:a failed and is put aside: wrong answers: off by 3"]
    bench.engine.close()
    assert check.closed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"standby": True}, "isolate=True"),
        ({"verify_every": -1}, "number of requests"),
        ({"deadline": 0}, "number of seconds"),
    ],
)
def test_what_makes_no_sense_is_refused(double: Any, options: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        hal.load(double, device="ort:cpu", **options)
    assert said in f"{caught.value} {caught.value.next_step}"


FAULTY = """
import threading, time
import numpy as np
import hal

class Executable:
    calls = 0
    def run(self, inputs):
        Executable.calls += 1
        x = inputs["x"].numpy()
        if x[0] == 99:
            time.sleep(60)
        late = Executable.calls > 20
        return {"y": hal.Tensor.from_numpy(x * 2 + late * WRONG)}

class Backend:
    def devices(self):
        return [hal.Device("faultydev:cpu", "cpu")]
    def supports(self, device, model):
        return hal.Support()
    def compile(self, device, model, options):
        return Executable()

@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec("faultydev", Backend)]
"""


@pytest.fixture
def faulty(site: Any) -> Iterator[Callable[[float], None]]:
    def install(wrong: float) -> None:
        site.add("fake-faulty", f"WRONG = {wrong}\n{FAULTY}")

    return install


def pid(session: Any) -> int:
    found = session._engine._current.engine.host.pid
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("standby", [False, True])
def test_kill_under_load_loses_no_request(double: Any, standby: bool) -> None:
    feeds = [{"x": np.array([i, -i], np.float32)} for i in range(1000)]
    with hal.load(double, device="ort:cpu", isolate=True, standby=standby) as session:
        session.run(None, feeds[0])
        done = threading.Event()

        def kill() -> None:
            while not done.wait(0.05):
                if kills < 2:
                    os.kill(pid(session), signal.SIGKILL)
                    return

        kills = 0
        with ThreadPoolExecutor(4) as pool:
            killer = threading.Thread(target=kill)
            killer.start()
            answers = list(pool.map(lambda f: session.run(None, f)[0], feeds))
            done.set()
            killer.join()
        for given, got in zip(feeds, answers, strict=True):
            np.testing.assert_array_equal(got, given["x"] * 2)
        (event,) = session._engine.events
        assert event.startswith("ort:cpu failed and is put aside")


def test_hang_past_the_deadline(double: Any, faulty: Callable[[float], None]) -> None:
    faulty(0.0)
    start = time.monotonic()
    with hal.load(double, device="faultydev:cpu", isolate=True, deadline=1.0) as session:
        np.testing.assert_array_equal(session.run(None, ONE)[0], [2, 4])
        with pytest.raises(UnavailableError, match="no candidate is left"):
            session.run(None, {"x": np.array([99, 0], np.float32)})  # it hangs in both engines
        np.testing.assert_array_equal(session.run(None, ONE)[0], [2, 4])
    assert time.monotonic() - start < 50


@pytest.mark.parametrize("isolate", [False, True])
def test_answers_that_begin_to_be_wrong_are_found(
    double: Any, faulty: Callable[[float], None], isolate: bool
) -> None:
    faulty(1.0)
    with hal.load(double, device="faultydev:cpu", isolate=isolate, verify_every=5) as session:
        for _ in range(20):
            np.testing.assert_array_equal(session.run(None, ONE)[0], [2, 4])
        assert session._engine.events == []
        for _ in range(4):
            assert session.run(None, ONE)[0][0] == 3  # nobody looks yet
        if isolate:  # a fresh process answers
            np.testing.assert_array_equal(session.run(None, ONE)[0], [2, 4])
        else:
            with pytest.raises(UnavailableError, match="no candidate is left"):
                session.run(None, ONE)
        assert "wrong answers: output 'y' is off by" in session._engine.events[0]
