"""External data: tensors that lie in files beside the model, mapped into memory."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from hal.errors import ModelError
from hal.types import ElementType

__all__ = ["ExternalData"]


class ExternalData:
    """Reads the external tensors of one model. `folder` is the model's own, None if it has none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._maps: dict[str, memoryview] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """The files that have been read, as the model names them."""
        return tuple(sorted(self._maps))

    def check(self, location: str) -> None:
        """Raise as `read` does for a file that lies outside the folder or cannot be read."""
        self._file(f"external data {location!r}", location)

    def read(
        self, name: str, element_type: ElementType, count: int, entries: dict[str, str]
    ) -> memoryview:
        """The bytes of tensor `name`, which has `count` elements, as a view of the mapped file.

        Raises ModelError when the file lies outside the model's folder, cannot be read, or is too
        small for what the tensor claims.
        """
        what = f"external tensor {name!r}"
        if element_type is ElementType.STRING:
            raise ModelError(f"{what}: strings cannot be external")
        needed = element_type.nbytes(count)
        offset = _number(what, entries, "offset", 0)
        length = _number(what, entries, "length", needed)
        if length != needed:
            raise ModelError(f"{what}: its shape needs {needed} bytes, its length is {length}")
        data = self._file(what, entries.get("location", ""))
        if offset > len(data) or length > len(data) - offset:
            raise ModelError(
                f"{what}: bytes {offset} to {offset + length} of a file of {len(data)} bytes"
            )
        return data[offset : offset + length]

    def _file(self, what: str, location: str) -> memoryview:
        if location not in self._maps:
            self._maps[location] = _map(what, self._inside(what, location))
        return self._maps[location]

    def _inside(self, what: str, location: str) -> Path:
        if self._folder is None:
            raise ModelError(f"{what}: the model was given without its folder")
        posix, windows = PurePosixPath(location), PureWindowsPath(location)
        if not location or "\0" in location:
            raise ModelError(f"{what}: it names no file")
        if posix.is_absolute() or windows.is_absolute() or windows.drive or windows.root:
            raise ModelError(f"{what}: the absolute path {location!r} is refused")
        if ".." in posix.parts or ".." in windows.parts:
            raise ModelError(f"{what}: the path {location!r} leaves the model's folder")
        try:
            folder = self._folder.resolve(strict=True)
            path = (folder / location).resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links before Python 3.13
            reason = getattr(error, "strerror", None) or "a loop of links"
            raise ModelError(f"{what}: {location!r}: {reason}") from None
        if not path.is_relative_to(folder):
            raise ModelError(f"{what}: the link {location!r} leaves the model's folder")
        return path


def _map(what: str, path: Path) -> memoryview:
    # Non-blocking: a pipe with the right name would otherwise hold the reader for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"{what}: {path.name!r} is not a regular file")
            if not status.st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{what}: {path.name!r}: {reason}") from None


def _number(what: str, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{what}: its {key} is {text[:40]!r}")
    return int(text)
