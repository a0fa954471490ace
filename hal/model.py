"""An ONNX model as it travels: serialized bytes, and the folder its external data may lie in."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from hal.errors import ModelError, UsageError

__all__ = ["Model"]

_LARGEST = (1 << 31) - 1
"""Bytes that a protobuf has at most."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A serialized ONNX `ModelProto`. `folder` is where external data lies, if there is any.

    `external` names the files there, by whoever has read these very bytes whole
    (`ModelGraph.external`); None when nobody has. `source` is its file, for errors.
    """

    data: bytes
    folder: Path | None = None
    external: tuple[str, ...] | None = None
    source: str = dataclasses.field(default="", compare=False)

    @classmethod
    def from_path(cls, path: Path | str) -> Model:
        """Read a model file. Raises ModelError if it cannot be read, is empty, or is larger than a
        protobuf can be (2 GiB)."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if stat.S_ISCHR(status.st_mode):  # /dev/zero does not end
                    raise ModelError(f"{path}: a device is no file")
                size = status.st_size if stat.S_ISREG(status.st_mode) else 0
                data = file.read() if size <= _LARGEST else b""
            folder = path.resolve().parent
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            raise ModelError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        if size > _LARGEST or len(data) > _LARGEST:
            raise ModelError(
                f"{path}: {size or len(data)} bytes, and a model file has 2 GiB at most",
                next_step="save its weights as external data: onnx.save(..., "
                "save_as_external_data=True)",
            )
        if not data:
            raise ModelError(f"{path}: the file is empty")
        return cls(data, folder, source=str(path))

    @classmethod
    def of(cls, source: Any) -> Model:
        """A model of a path, of serialized bytes, or of an `onnx.ModelProto`; a Model as it is.

        Only a path tells where external data lies. Raises ModelError for what cannot be read,
        UsageError for another type.
        """
        if isinstance(source, Model):
            return source
        if isinstance(source, (str, os.PathLike)):
            return cls.from_path(Path(source))
        if isinstance(source, (bytes, bytearray, memoryview)):
            if not len(source):
                raise ModelError("the model is empty: 0 bytes")
            return cls(bytes(source))
        if hasattr(source, "SerializeToString"):
            try:
                return cls(source.SerializeToString())
            except ValueError as error:  # protobuf writes nothing above 2 GiB
                raise ModelError(f"the ModelProto cannot be serialized: {error}") from None
        raise UsageError(
            f"a model is a path, bytes or an onnx.ModelProto, got a {type(source).__name__}"
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the serialized model, without its external data."""
        return hashlib.sha256(self.data).hexdigest()
