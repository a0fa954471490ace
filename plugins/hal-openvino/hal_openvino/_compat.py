"""Workarounds for what OpenVINO does, each with the version that shows it."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hal.model import Model

__all__ = ["import_openvino", "on_disk"]


def import_openvino() -> None:
    """Import openvino without its telemetry.

    Importing openvino 2026.4.1 sends an event ("ov", "import") through openvino_telemetry, unless a
    file in the user's home says otherwise: openvino/tools/ovc/__init__.py. Where openvino_telemetry
    cannot be imported it uses a stub that sends nothing, in this process for good.
    https://github.com/openvinotoolkit/telemetry
    """
    if "openvino" in sys.modules:
        return
    missing = object()
    before: Any = sys.modules.get("openvino_telemetry", missing)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # "cannot be imported"
    try:
        import openvino  # noqa: F401 (for what it leaves in sys.modules)
    finally:
        if before is missing:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = before


@contextlib.contextmanager
def on_disk(model: Model) -> Iterator[Path | None]:
    """A file of the model beside its external data, None for a model that needs none.

    2026.4.1 finds external data only beside a model that it reads from a file, and the bytes in
    hand may differ from the file that they came from (their nodes are named).
    """
    if model.folder is None or b"location" not in model.data:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="hal-openvino-") as name:
        folder = Path(name)
        for entry in model.folder.iterdir():
            (folder / entry.name).symlink_to(entry)
        file = folder / f"{model.fingerprint}.onnx"
        file.write_bytes(model.data)
        yield file
