"""Values in NumPy's .npz files, by their names in the model."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hal.errors import DataError, OutputError

__all__ = ["read_npz", "write_npz"]


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a .npz file. Raises DataError for what is none, or holds Python objects."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path} holds one array without a name: save it with np.savez")
        with archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError, TypeError) as error:
        reason: object = error
        if "allow_pickle" in str(error):  # numpy's advice is to trust the file
            zipped = zipfile.is_zipfile(path)
            reason = "it holds Python objects" if zipped else "it is no archive of NumPy"
        raise DataError(
            f"{path} is no .npz file of arrays: {reason}",
            next_step="write one with numpy.savez(path, name=array, ...)",
        ) from None


def write_npz(path: Path, values: Mapping[str, Any]) -> None:
    """Write outputs to a .npz file, in whole or not at all: the items of a sequence as "name.0",
    "name.1", ..., a map as "name.keys" and "name.values"; types that NumPy lacks as float32.
    Raises OutputError."""
    arrays: dict[str, Any] = {}
    for name, value in values.items():
        arrays.update(_arrays(name, value))
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise OutputError(f"{path}: {error.strerror or error}") from None


def _arrays(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return {
            f"{name}.keys": _plain(np.array(list(value))),
            f"{name}.values": _plain(np.array(list(value.values()))),
        }
    if isinstance(value, list):
        found: dict[str, Any] = {}
        for i, item in enumerate(value):
            found.update(_arrays(f"{name}.{i}", item))
        return found
    return {name: _plain(np.asarray(value))}


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype == object:
        return array.astype(np.str_)
    return array if array.dtype.isbuiltin == 1 else array.astype(np.float32)
