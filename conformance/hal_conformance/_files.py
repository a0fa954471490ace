"""Output files that are whole or not there, and folders to fill."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from hal.errors import OutputError, UsageError

__all__ = ["check_writable", "make_folder", "write_text"]


def check_writable(path: Path) -> None:
    """Prove that `write_text` can write `path`, and leave nothing behind.

    Raises OutputError, naming the path, when it cannot.
    """
    with _output_errors(path):
        target = _target(path)
        if _is_stream(target):
            if not os.access(target, os.W_OK):
                raise OutputError(f"cannot write {path}: permission denied")
            return
        temporary = _temporary(target)
        try:
            temporary.open("xb").close()
        finally:
            temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder, or take an empty one. Raises UsageError if there is something in it,
    OutputError if it cannot be made or written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty", next_step="name a folder that is new or empty")
        probe = path / ".hal-probe"
        probe.open("xb").close()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file so that at every moment `path` is the old file or the whole new one.

    A device or a pipe is written directly. Raises OutputError, naming the path, on a full disk, a
    missing folder or a missing permission; what stood there before is then untouched.
    """
    with _output_errors(path):
        target = _target(path)
        if _is_stream(target):
            target.write_text(text, encoding="utf-8")
            return
        temporary = _temporary(target)
        try:
            with temporary.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    if path.exists() and not (path.is_file() or path.is_dir()):
        return path  # /dev/stdout leads to no path where it is a pipe
    target = path.resolve()  # through a symbolic link, so that the link stays
    if target.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {target.parent}")
    if target.exists() and not os.access(target, os.W_OK):
        raise OutputError(f"cannot write {path}: permission denied")
    return target


def _is_stream(target: Path) -> bool:
    return target.exists() and not target.is_file()


def _temporary(target: Path) -> Path:
    return target.with_name(f".hal-{os.getpid()}-{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    except RuntimeError as error:  # Path.resolve() on a loop of links, before Python 3.13
        raise OutputError(f"cannot write {path}: {error}") from None
