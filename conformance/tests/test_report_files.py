"""Output files are whole or not there, and what cannot be written says so before the run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hal_conformance._files import check_writable, write_text

from hal.errors import OutputError

as_user = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere"
)


def test_a_writable_path_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.json")
    assert list(tmp_path.iterdir()) == []


def test_the_check_does_not_touch_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text("old")
    before = file.stat()
    check_writable(file)
    assert file.read_text() == "old"
    assert file.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/r.json", "there is no folder"),
        (".", "it is a folder"),
        ("a-file/r.json", "there is no folder"),
        ("n" * 300, "File name too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    path = tmp_path / name
    for function in (check_writable, lambda p: write_text(p, "x")):
        with pytest.raises(OutputError) as caught:
            function(path)
        assert str(path) in str(caught.value)
        assert message in str(caught.value)


@as_user
def test_a_folder_or_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_writable(locked / "r.json")
    file = tmp_path / "r.json"
    file.write_text("old")
    file.chmod(0o400)
    with pytest.raises(OutputError, match="permission denied"):
        check_writable(file)


def test_a_link_keeps_its_place(tmp_path: Path) -> None:
    target = tmp_path / "real.json"
    link = tmp_path / "link.json"
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_the_old_file_is_never_written_into(tmp_path: Path) -> None:
    file, same = tmp_path / "r.json", tmp_path / "same.json"
    file.write_text("old")
    same.hardlink_to(file)
    write_text(file, "new")
    assert (file.read_text(), same.read_text()) == ("new", "old")


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OutputError, match="loop"):
        write_text(loop, "x")


def test_a_stream_is_written_directly(tmp_path: Path) -> None:
    check_writable(Path(os.devnull))
    write_text(Path(os.devnull), "text")
    assert Path(os.devnull).is_char_device()


def test_a_full_disk_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.json"
    file.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"r\.json: No space left on device"):
        write_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_pipe_is_written_directly() -> None:
    code = (
        "from pathlib import Path; from hal_conformance._files import check_writable, write_text;"
    )
    code += "path = Path('/dev/stdout'); check_writable(path); write_text(path, 'all of it')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("all of it", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_real_full_device_is_an_output_error() -> None:
    with pytest.raises(OutputError, match="/dev/full: No space left on device"):
        write_text(Path("/dev/full"), "x" * 10_000)


def test_a_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
