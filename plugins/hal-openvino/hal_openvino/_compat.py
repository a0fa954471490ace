"""Workarounds for what OpenVINO does, each with the version that shows it."""

from __future__ import annotations

import contextlib
import importlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hal.model import Model

__all__ = ["on_disk", "openvino"]


def _openvino() -> Any:
    """The module openvino, imported without its telemetry.

    Importing openvino 2026.4.1 sends an event ("ov", "import") through openvino_telemetry, unless a
    file in the user's home says otherwise: openvino/tools/ovc/__init__.py. Where openvino_telemetry
    cannot be imported it uses a stub that sends nothing, in this process for good.
    https://github.com/openvinotoolkit/telemetry
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    missing = object()
    before: Any = sys.modules.get("openvino_telemetry", missing)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # "cannot be imported"
    try:
        return importlib.import_module("openvino")
    finally:
        if before is missing:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = before


openvino = _openvino()
"""The other modules take it from here, so that none imports it with its telemetry."""


@contextlib.contextmanager
def on_disk(model: Model) -> Iterator[Path | None]:
    """A file of the model beside its external data, None for a model that has none.

    2026.4.1 finds external data only beside a model that it reads from a file, refuses symbolic
    links, and the bytes in hand may differ from the file that they came from (their nodes are
    named). The data is linked where the file system can, else copied.
    """
    locations = set(_locations(model.data)) if model.folder is not None else set()
    if model.folder is None or not locations:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="hal-openvino-") as name:
        folder = model.folder.resolve()
        for location in locations:
            source, target = (folder / location).resolve(), Path(name) / location
            if ".." in target.parts or not source.is_relative_to(folder) or not source.is_file():
                continue  # bytes that look like a location
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, target)
        file = Path(name) / f"{model.fingerprint}.onnx"
        file.write_bytes(model.data)
        yield file


def _locations(data: bytes) -> Iterator[str]:
    """The value of every StringStringEntryProto with the key "location" in a serialized model."""
    for found in re.finditer(rb"\n\x08location\x12([\x80-\xff]{0,2}[\x00-\x7f])", data):
        length = sum((octet & 0x7F) << (7 * place) for place, octet in enumerate(found[1]))
        with contextlib.suppress(UnicodeDecodeError):  # no entry, but bytes that look like one
            yield data[found.end() : found.end() + length].decode()
