"""The journal: what ran is kept through any end, and a journal that fails stops no run."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from hal_conformance.journal import Journal, read_log
from hal_conformance.report import CaseResult

from hal import Device, Outcome
from hal.backend import Option

DEVICE = Device("fake:cpu", "cpu", versions={"sdk": "1"})
SUITE = "onnx 1.23.2"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def result(name: str, outcome: Outcome = Outcome.PASS) -> CaseResult:
    return CaseResult(f"onnx/node/{name}", ("Abs",), outcome, "sole", "µ \ud800 \n", 0.25)


def journal(
    *,
    resume: bool = False,
    device: Device = DEVICE,
    suite: str = SUITE,
    options: Mapping[str, Option] | None = None,
    cases: str = "ab",
) -> Journal:
    ids = [f"onnx/node/{name}" for name in cases]
    return Journal(device, suite, options or {}, ids, resume=resume)


def write(*names: str, device: Device = DEVICE, suite: str = SUITE) -> Path:
    """A run that has ended in the middle; returns the file of its journal."""
    made = journal(device=device, suite=suite)
    before = set(made.folder.glob("*.jsonl"))
    for name in names:
        made.add(result(name))
    made.close()
    assert not made.problem
    return max(before)


def of_process(path: Path, pid: int) -> Path:
    """The file, as if that process had written it."""
    return path.rename(path.with_name(f"1-{pid}.jsonl"))


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    header = """
        import sys
        from hal import Device, Outcome
        from hal_conformance.journal import Journal
        from hal_conformance.report import CaseResult
        device = Device("fake:cpu", "cpu", versions={"sdk": "1"})
    """
    text = textwrap.dedent(header) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", text, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_results_come_back_as_they_were() -> None:
    write("a", "b")
    again = journal(resume=True)
    assert again.results == {r.id: r for r in (result("a"), result("b"))}
    again.close()


def test_without_resume_nothing_comes_back() -> None:
    write("a")
    fresh = journal()
    assert fresh.results == {}
    fresh.close()


def test_resuming_twice_keeps_what_each_added() -> None:
    write("a")
    second = journal(resume=True)
    second.add(result("b"))
    second.close()
    third = journal(resume=True)
    assert set(third.results) == {"onnx/node/a", "onnx/node/b"}
    third.close()


def test_what_was_not_repeated_is_no_result_and_comes_back() -> None:
    made = journal()
    for name in ("a", "b"):
        made.doubt(result(name, Outcome.CRASH))
    made.add(result("b", Outcome.PASS))
    made.close()
    assert read_log(made.text()).broken == ""
    again = journal(resume=True)
    assert set(again.results) == {"onnx/node/b"}
    assert again.unconfirmed["onnx/node/a"] == result("a", Outcome.CRASH)
    again.close()


def test_the_later_result_of_a_case_counts() -> None:
    made = journal()
    made.add(result("a", Outcome.TIMEOUT))
    made.add(result("a", Outcome.PASS))
    made.close()
    again = journal(resume=True)
    assert again.results["onnx/node/a"].outcome is Outcome.PASS
    again.close()


@pytest.mark.parametrize(
    "other",
    [
        {"device": Device("fake:npu", "npu", versions={"sdk": "1"})},
        {"device": Device("fake:cpu", "cpu", versions={"sdk": "2"})},
        {"suite": "onnx 1.24.0"},
        {"options": {"threads": 2}},
    ],
    ids=["device", "version", "suite", "options"],
)
def test_results_of_something_else_are_not_taken(other: dict[str, object]) -> None:
    write("a")
    again = journal(resume=True, **other)  # type: ignore[arg-type]
    assert again.results == {}
    again.close()


@pytest.mark.parametrize("cut", [1, 10, -1], ids=["last-newline", "tail", "but-one"])
def test_line_cut_short_is_dropped_and_the_rest_kept(cut: int) -> None:
    path = write("a", "b", "c")
    data = path.read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    path.write_bytes(data[: last + 1] if cut == -1 else data[:-cut])
    again = journal(resume=True)
    names = {"a", "b", "c"} if cut == 1 else {"a", "b"}
    assert set(again.results) == {f"onnx/node/{n}" for n in names}
    assert not again.problem
    again.close()


NO_RESULTS = (
    b"5",
    b"[]",
    b"null",
    b'{"id": 1}',
    b'{"id": "x", "operators": [], "outcome": "grand"}',
    b"\xff\xfe",
    b"\0" * 64,
)


@pytest.mark.parametrize("line", NO_RESULTS, ids=range(len(NO_RESULTS)))
def test_line_that_is_no_result_is_dropped(line: bytes) -> None:
    path = write("a")
    path.write_bytes(line + b"\n" + path.read_bytes())
    again = journal(resume=True)
    assert set(again.results) == {"onnx/node/a"}
    again.close()


def test_each_result_is_on_disk_before_the_next_call() -> None:
    writer = python("""
        journal = Journal(device, "onnx 1.23.2", {}, [], resume=False)
        journal.add(CaseResult("onnx/node/a", ("Abs",), Outcome.PASS))
        print("added", flush=True)
        sys.stdin.read()
    """)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "added\n"
    writer.kill()
    writer.communicate()
    again = journal(resume=True)
    assert set(again.results) == {"onnx/node/a"}
    again.close()


def test_two_processes_at_once_lose_nothing() -> None:
    script = """
        journal = Journal(device, "onnx 1.23.2", {}, [], resume=False)
        print("ready", flush=True)
        sys.stdin.readline()
        for i in range(300):
            journal.add(CaseResult(f"onnx/node/{sys.argv[1]}{i}", ("Abs",), Outcome.PASS))
        journal.close()
        print(journal.problem, flush=True)
    """
    writers = [python(script, name) for name in "ab"]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.communicate(timeout=60) == ("\n", "")
    again = journal(resume=True)
    assert set(again.results) == {f"onnx/node/{n}{i}" for n in "ab" for i in range(300)}
    again.close()


def test_files_of_dead_processes_are_removed_and_of_living_ones_kept() -> None:
    dead = of_process(write("a"), dead_process())
    living = write("b")
    fresh = journal()
    assert not dead.exists()
    assert living.exists()
    assert fresh.results == {}
    fresh.close()


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.CRASH])
def test_a_run_of_one_case_leaves_the_others(outcome: Outcome) -> None:
    made = journal()
    made.add(result("a"))
    keep = made.doubt if outcome is Outcome.CRASH else made.add
    keep(result("b", outcome))
    made.close()
    whole = of_process(max(made.folder.glob("*.jsonl")), dead_process())
    journal(cases="a").close()
    assert whole.exists()
    again = journal(resume=True)
    assert again.results.keys() | again.unconfirmed.keys() == {"onnx/node/a", "onnx/node/b"}
    again.close()


def test_resuming_removes_nothing() -> None:
    dead = of_process(write("a"), dead_process())
    again = journal(resume=True)
    assert dead.exists()
    assert set(again.results) == {"onnx/node/a"}
    again.close()


@pytest.mark.parametrize("resume", [False, True])
def test_folder_that_cannot_be_written_is_told_and_the_run_goes_on(
    home: Path, resume: bool
) -> None:
    home.mkdir()
    (home / "data").write_text("a file where a folder should be")
    made = journal(resume=resume)
    assert "--resume" in made.problem
    assert os.strerror(20) in made.problem  # ENOTDIR
    made.add(result("a"))
    made.close()
    assert set(made.results) == {"onnx/node/a"}


def test_full_disk_is_told_and_the_run_goes_on() -> None:
    # A limit on the size of files stands in for the disk: the system refuses the write alike.
    writer = python("""
        import resource
        journal = Journal(device, "onnx 1.23.2", {}, [], resume=False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        for i in range(100):
            journal.add(CaseResult(f"onnx/node/{i}", ("Abs",), Outcome.PASS, "sole", "r" * 50))
        journal.close()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        print(len(journal.results), journal.problem)
    """)
    out, err = writer.communicate(timeout=60)
    assert err == ""  # nor a word when the file is collected
    assert out.startswith("100 results cannot be kept for --resume: ")
    again = journal(resume=True)
    assert 1 <= len(again.results) < 10  # what was whole before the disk was full
    again.close()


def test_closing_twice_is_harmless() -> None:
    made = journal()
    made.close()
    made.close()
    made.add(result("a"))
    assert not made.problem
