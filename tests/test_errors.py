"""The tree of errors is the one drawn, keeps what it is told, and suggests close names."""

from __future__ import annotations

import pickle
import re

import pytest

from hal import errors
from hal.errors import BrokenError, FallbackError, HalError, UnsupportedError, did_you_mean

CLASSES = {
    name: value
    for name in errors.__all__
    if isinstance(value := getattr(errors, name), type) and issubclass(value, HalError)
}


def drawn() -> dict[str, tuple[str, int | None]]:
    """Each error of the drawing with its parent and exit code."""
    tree: dict[str, tuple[str, int | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│├└─ ]*)(\w+Error)\b(?:.*exit (\d+))?", line)
        if match:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            tree[match[2]] = (path[depth - 1] if depth else "", int(match[3]) if match[3] else None)
    return tree


def test_every_error_hangs_where_it_is_drawn() -> None:
    parents = {name: cls.__base__.__name__ for name, cls in CLASSES.items() if cls is not HalError}
    assert {name: parent for name, (parent, _) in drawn().items() if parent} == parents
    assert set(drawn()) == set(CLASSES)


def test_exit_codes_are_those_drawn() -> None:
    written = {name: code for name, (_, code) in drawn().items() if code is not None}
    assert written == {name: CLASSES[name].exit_code for name in written}
    leaves = {n for n, c in CLASSES.items() if not c.__subclasses__()}
    assert leaves <= set(written)


def test_no_error_exits_as_success_or_as_an_unheld_gate() -> None:
    assert all(c.exit_code > 1 for c in CLASSES.values() if c is not HalError)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_keeps_its_message_and_next_step(name: str) -> None:
    error = CLASSES[name]("what failed", next_step="hal doctor")
    assert (str(error), error.next_step, error.traceback) == ("what failed", "hal doctor", "")
    assert CLASSES[name]("what failed").next_step == ""


@pytest.mark.parametrize("cls", [UnsupportedError, FallbackError])
def test_nodes_at_fault_are_kept(cls: type[UnsupportedError] | type[FallbackError]) -> None:
    assert cls("no", nodes=["a", "b"]).nodes == ("a", "b")
    assert cls("no").nodes == ()


def test_broken_keeps_the_traceback() -> None:
    assert BrokenError("it broke", traceback="Traceback ...").traceback == "Traceback ..."


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_survives_a_pickle(name: str) -> None:
    # Test runners with several processes, and pools, hand errors over in this way.
    error = pickle.loads(pickle.dumps(CLASSES[name]("what failed", next_step="hal doctor")))
    assert type(error) is CLASSES[name]
    assert (str(error), error.next_step) == ("what failed", "hal doctor")


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("ort:cpx", ["ort:cpu", "openvino:cpu"], " Did you mean 'ort:cpu'?"),
        ("visoin", ["vision", "quantized"], " Did you mean 'vision'?"),
        ("softmx", ["softplus", "softmax"], " Did you mean 'softmax'?"),
        ("qqqq", ["ort:cpu", "openvino:cpu"], ""),
        ("anything", [], ""),
        ("", ["ort:cpu"], ""),
    ],
)
def test_did_you_mean(name: str, known: list[str], said: str) -> None:
    assert did_you_mean(name, known) == said
    assert did_you_mean(name, iter(known)) == said


def test_a_message_is_one_line_that_prints():
    error = HalError("node 'a\x1b[31m\nb\ud800' (ü)", next_step="see\x07")
    assert str(error) == r"node 'a\x1b[31m b\ud800' (ü)"
    assert error.next_step == r"see\x07"
