"""The store under faults: what was committed stays, and nothing that goes wrong stops a run."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.errors import DataError, OutputError
from hal.store import SCHEMA, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.sqlite"


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_rows_and_groups(path: Path) -> None:
    with Store(path) as store:
        assert store.get("routes", "a") is None and not store.rows("routes")
        assert store.put("routes", "a", {"x": 1}, group="m")
        assert store.put_many("routes", [("b", {"x": 2}), ("a", {"x": 3})], group="n")
        assert store.put("models", "a", {"x": 4})
    with Store(path) as store:
        assert store.get("routes", "a") == {"x": 3}
        assert [r.key for r in store.rows("routes", "n")] == ["a", "b"]
        assert not store.rows("routes", "m"), "a row that is written again is in its new group"
        assert store.delete("routes", group="n") == 2
        assert store.get("models", "a") == {"x": 4}
        assert store.delete("models", key="a") == 1 and store.delete("models") == 0
        assert not store.problem
        with pytest.raises(ValueError, match="no table"):
            store.get("route", "a")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
_WRITES = st.lists(
    st.tuples(st.text(max_size=3), st.dictionaries(st.text(max_size=3), _JSON, max_size=3)),
    max_size=8,
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(_WRITES, _WRITES)
def test_what_is_written_is_read_by_the_next(
    first: list[tuple[str, dict[str, object]]], second: list[tuple[str, dict[str, object]]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        for writes in (first, second):
            with Store(path) as store:
                for key, document in writes:
                    # A lone surrogate is no text that SQLite takes, as key; JSON escapes it.
                    assert store.put("routes", key.encode("utf-8", "replace").decode(), document)
        expected = {k.encode("utf-8", "replace").decode(): d for k, d in first + second}
        with Store(path) as store:
            assert {row.key: row.document for row in store.rows("routes")} == expected


WRITER = """
    import sys
    from pathlib import Path
    from hal.store import Store
    path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with Store(path) as store:
        for i in range(count):
            pair = [(f"{name}-{i}-a", {"i": i}), (f"{name}-{i}-b", {"i": i, "pad": "x" * 2000})]
            if store.put_many("measurements", pair, group=name):
                print(i, flush=True)
"""


def test_several_processes_make_and_write_one_store(path: Path) -> None:
    processes = [python(WRITER, path, f"p{i}", 30) for i in range(4)]
    results = [process.communicate(timeout=120) for process in processes]
    assert [len(out.split()) for out, _ in results] == [30] * 4, results
    with Store(path) as store:
        assert len(store.rows("measurements")) == 240


def test_threads_share_a_connection(path: Path) -> None:
    with Store(path) as store:

        def work(name: str) -> None:
            for i in range(20):
                assert store.put("routes", f"{name}{i}", {"i": i})
                assert store.get("routes", f"{name}{i}") == {"i": i}

        threads = [threading.Thread(target=work, args=(n,)) for n in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.rows("routes")) == 80


@pytest.mark.parametrize("after", [1, 7, 25])
def test_kill_in_mid_write_loses_nothing_committed(path: Path, after: int) -> None:
    process = python(WRITER, path, "p", 100_000)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.communicate()[0].split()]
    with Store(path) as store:
        keys = {row.key for row in store.rows("measurements")}
        assert {f"p-{i}-{half}" for i in told for half in "ab"} <= keys
        assert all(f"{k[:-1]}{h}" in keys for k in keys for h in "ab"), "pairs are never torn"
        assert store.put("measurements", "next", {}) and not store.problem


def test_a_full_disk_keeps_what_was_committed(path: Path) -> None:
    full = """
        import json, logging, resource, signal, sys
        from pathlib import Path
        from hal.store import Store
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with Store(Path(sys.argv[1])) as store:
            assert store.put("routes", "before", {"x": 1})
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            done = [store.put("routes", f"k{i}", {"pad": "x" * 5000}) for i in range(200)]
            assert store.get("routes", "before") == {"x": 1}
            print(json.dumps([sum(done), store.problem]))
    """
    out, err = python(full, path).communicate(timeout=60)
    done, problem = json.loads(out)
    assert 0 < done < 200 and "cannot be written" in problem
    assert len(err.splitlines()) == 1 and "goes on without it" in err
    with Store(path) as store:
        assert len(store.rows("routes")) == done + 1
        assert store.put("routes", "after", {}), "and with room again it is written"


def test_no_place_for_a_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING), Store(tmp_path / "file" / "store.sqlite") as store:
        assert not store.put("routes", "a", {}) and store.get("routes", "a") is None
        assert not store.rows("routes") and "cannot be made" in store.problem
        with pytest.raises(OutputError, match="cannot be made"):
            store.delete("routes")
    assert len(caplog.records) == 1


def test_a_newer_store_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Store(path) as store:
        store.put("routes", "a", {"x": 1})
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with caplog.at_level(logging.WARNING), Store(path) as store:
        assert store.get("routes", "a") is None and not store.put("routes", "b", {})
        assert "newer HAL" in store.problem
        with pytest.raises(DataError, match="newer HAL"):
            store.require()
    assert len(caplog.records) == 1
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM routes").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_file_that_is_no_store(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with Store(path) as store:
        assert store.get("routes", "a") is None and not store.put("routes", "a", {})
        assert "cannot be read" in store.problem
        with pytest.raises(DataError):
            store.require()
    assert path.read_bytes() == content, "and it is left as it was"


def test_a_row_that_is_no_json(path: Path) -> None:
    with Store(path) as store:
        store.put("routes", "a", {})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE routes SET document = '{'")
    connection.close()
    with Store(path) as store:
        assert store.get("routes", "a") is None and "cannot be read" in store.problem


def test_a_write_waits_for_another_and_then_gives_up_for_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hal.store.BUSY", 0.1)
    with Store(path) as store:
        store.put("routes", "a", {"x": 1})
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        assert not store.put("routes", "b", {}) and "locked" in store.problem
        assert store.get("routes", "a") == {"x": 1}, "a read does not wait"
        other.rollback()
        other.close()
        assert store.put("routes", "b", {})


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_read_only_store_is_read(open_folder: Path) -> None:
    path = open_folder / "store.sqlite"
    with Store(path) as store:
        store.put("routes", "a", {"x": 1})
    path.chmod(0o444)
    open_folder.chmod(0o555)
    code = """
        import logging, os, sys
        from pathlib import Path
        from hal.store import Store
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        if not os.getuid():
            os.setuid(65534)  # root may write anywhere
        with Store(Path(sys.argv[1])) as store:
            assert store.get("routes", "a") == {"x": 1}
            assert not store.put("routes", "b", {})
            assert store.get("routes", "b") is None
            print(store.problem)
    """
    out, err = python(code, path).communicate(timeout=60)
    open_folder.chmod(0o755)
    assert "read-only" in out, err
    assert len(err.splitlines()) == 1, err
