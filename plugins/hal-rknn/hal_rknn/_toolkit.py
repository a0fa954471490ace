"""The calls into rknn-toolkit2. It tells what it has to say on the standard streams, and raises or
returns a negative number; here both become errors of HAL."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rknn.api import RKNN

from hal.errors import ExecutionError, HalError, SkewError, UnavailableError, UnsupportedError
from hal_rknn._layers import Layer, read_layers

__all__ = ["Session", "open_session"]

_FOLDER = "hal-rknn-"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SKEW = re.compile(r"opset|ir.?version", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"unsupport|not support|not.?implement|only support|dynamic graph|to fix the input shape"
    r"|not a registered function|training mode disabled",
    re.IGNORECASE,
)
_ERROR_LINE = re.compile(r"E (?:RKNN: \[[\d:.]+\] )?(.*)")
_RAISED = re.compile(r"(?:\w+\.)*[A-Z]\w+: ")


class Session:
    """A model built for one target and ready to run."""

    def __init__(self, rknn: Any, layers: Sequence[Layer]) -> None:
        self.rknn = rknn
        self.layers = tuple(layers)

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs of one run, as arrays. Raises ExecutionError or UnsupportedError."""
        formats = ["nchw"] * len(arrays)
        log: list[str] = []
        with _captured(log):
            outputs = _called("run", lambda: self.rknn.inference(list(arrays), data_format=formats))
        if outputs is None:
            raise _classified(f"rknn-toolkit2 gave no outputs: {_last_error(log)}")
        return list(outputs)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.rknn.release()


def open_session(
    model: bytes, target: str, *, board: str = "", config: dict[str, Any] | None = None
) -> Session:
    """Build `model` for the chip `target`, and start it in the simulator or on the board with that
    serial number. Raises SkewError, UnsupportedError or ExecutionError with the SDK's reason."""
    _sweep()
    prefix = f"{_FOLDER}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix) as folder, _inside(folder):
        path = Path(folder, "model.onnx")
        path.write_bytes(model)
        log: list[str] = []
        rknn = None
        try:
            with _captured(log):
                # The table of layers is part of the verbose log, and of nothing else.
                rknn = RKNN(verbose=True)
                settings = {"target_platform": target, **(config or {})}
                _called("configure", lambda: rknn.config(**settings), log)
                _called("load", lambda: rknn.load_onnx(str(path)), log)
                _called("build", lambda: rknn.build(do_quantization=False), log)
                where = {"target": target, "device_id": board} if board else {}
                _called("start", lambda: rknn.init_runtime(**where), log)
        except _Refused as refusal:
            if rknn is not None:
                with contextlib.suppress(Exception):
                    rknn.release()
            raise _error(refusal, log, board) from None
        layers = read_layers(log)
        if layers is None:
            rknn.release()
            raise ExecutionError(
                "the compiler printed no table of layers: where it runs is unknown"
            )
        return Session(rknn, layers)


def _sweep() -> None:
    """Remove the folders of hosts that were killed while they built a model."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        owner = folder.name.removeprefix(_FOLDER).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():  # the SDK is for Linux alone
            shutil.rmtree(folder, ignore_errors=True)


class _Refused(Exception):
    """A step that failed; the log, which is read after it, may say more."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(reason)
        self.step = step


def _called(step: str, call: Callable[[], Any], log: list[str] | None = None) -> Any:
    try:
        result = call()
    except Exception as error:  # noqa: BLE001 (the SDK raises whatever its parts raise)
        reason = _told(str(error)) or type(error).__name__
    except SystemExit as error:  # some of its checks end the process
        reason = f"it tried to exit with {error.code}"
    else:
        if isinstance(result, int) and result < 0:
            reason = ""
        else:
            return result
    if log is not None:
        raise _Refused(step, reason)
    raise _classified(f"cannot {step}: {reason or 'no reason given'}")


def _error(refusal: _Refused, log: Sequence[str], board: str) -> HalError:
    reason = str(refusal) or _last_error(log)
    if refusal.step == "start" and board:
        return UnavailableError(
            f"the board {board} does not start: {reason}", next_step="adb devices"
        )
    return _classified(f"cannot {refusal.step}: {reason}")


def _classified(text: str) -> HalError:
    text = " ".join(text.split())[:500]
    if _SKEW.search(text):
        return SkewError(text)
    return UnsupportedError(text) if _UNSUPPORTED.search(text) else ExecutionError(text)


def _last_error(log: Sequence[str]) -> str:
    """What the log's last line of an error says."""
    told = [found[1].strip() for line in log if (found := _ERROR_LINE.match(line))]
    return next(filter(None, reversed(told)), "no reason given")


def _told(text: str) -> str:
    """What a message that holds a traceback says was raised; it may go over several lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    starts = [i for i, line in enumerate(lines) if _RAISED.match(line)]
    return " ".join(lines[starts[-1] :] if starts else lines[-1:]).strip()


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    """In verbose mode the SDK leaves files in the working directory."""
    back = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(back)


@contextlib.contextmanager
def _captured(lines: list[str]) -> Iterator[None]:
    """What is written to the descriptors 1 and 2, by Python or by native code, goes to a file, and
    into `lines` at the end."""
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        try:
            _flush()
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            _flush()
            for descriptor, old in enumerate(kept, 1):
                os.dup2(old, descriptor)
                os.close(old)
            file.seek(0)
            text = file.read().decode("utf-8", "replace")
            lines += _COLOUR.sub("", text).splitlines()


def _flush() -> None:
    # To a file, native code writes what fits its buffer: the table of one model would be read as
    # part of the next one's log.
    ctypes.CDLL(None).fflush(None)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
