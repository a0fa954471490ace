"""An ONNX model as it travels: serialized bytes, and the folder its external data may lie in."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from pathlib import Path
from typing import Any

from hal.errors import ModelError, UsageError

__all__ = ["Model"]


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
        """Read a model file. Raises ModelError if it cannot be read or is empty."""
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from None
        if not data:
            raise ModelError(f"{path}: the file is empty")
        return cls(data, path.resolve().parent, source=str(path))

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
