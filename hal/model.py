"""An ONNX model as it travels: serialized bytes, and the folder its external data may lie in."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path

from hal.errors import ModelError

__all__ = ["Model"]


@dataclasses.dataclass(frozen=True)
class Model:
    """A serialized ONNX `ModelProto`. `folder` is where external data lies, if there is any."""

    data: bytes
    folder: Path | None = None

    @classmethod
    def from_path(cls, path: Path | str) -> Model:
        """Read a model file. Raises ModelError if it cannot be read or is empty."""
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from None
        if not data:
            raise ModelError(f"{path}: the file is empty")
        return cls(data, path.resolve().parent)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the serialized model, without its external data."""
        return hashlib.sha256(self.data).hexdigest()
