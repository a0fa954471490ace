"""One file that holds all cases of a suite: facts in an index, models and tensors behind it.

Layout, little-endian: the header (magic, format, CRC of the index, length of the index, length of
the file), the index (JSON: one row a case), then a record for each case, aligned to 64 bytes. A
record is the length of its table of contents, that table (JSON), the model and the tensors, each
aligned too. Tensors are views of the mapped file; no byte of a case is read before `load`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import mmap
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hal import ElementType, MapValue, Model, OptionalValue, SequenceValue, Tensor, Value
from hal.errors import DataError
from hal_conformance.case import Case, CaseFacts, DataSet

__all__ = ["FORMAT", "CaseFile", "encode_cases", "write_atomically"]

FORMAT = 2
"""Changes with the layout and with whatever is derived for a case: older files are not read."""

_MAGIC = b"HALCASES"
_HEADER = struct.Struct("<8sIIQQ")
_LENGTH = struct.Struct("<I")
_ALIGN = 64
_FIELDS = tuple(f.name for f in dataclasses.fields(CaseFacts))
_TEXTS = ("tolerance_source", "oracles", "seed")
_TUPLES = tuple(_FIELDS.index(name) for name in ("nodes", "operators", "cells"))


class CaseFile:
    """The cases in one buffer: a mapped file, or bytes in memory.

    Raises DataError where the buffer is not whole: at once for the index, at `load` for a case.
    """

    def __init__(self, buffer: mmap.mmap | bytes, source: str) -> None:
        self._view = memoryview(buffer)
        self._source = source
        self._places: dict[str, list[int]] = {}
        self.facts: dict[str, CaseFacts] = {}
        for row in self._index():
            place = row.pop()
            for i in _TUPLES:
                row[i] = tuple(row[i])
            facts = CaseFacts(**dict(zip(_FIELDS, row, strict=True)))
            self.facts[facts.id] = facts
            self._places[facts.id] = place

    @classmethod
    def open(cls, path: Path) -> CaseFile:
        """Map a file. Raises DataError if it is not whole, OSError if it cannot be read."""
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise DataError(f"{path}: the file is empty")
            return cls(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), str(path))

    def load(self, case_id: str) -> Case:
        """The case of an id in `facts`."""
        offset, length, crc = self._places[case_id]
        offset += self._records
        record = self._view[offset : offset + length]
        if zlib.crc32(record) != crc:
            raise DataError(f"{self._source}: the bytes of {case_id} are damaged")
        (length,) = _LENGTH.unpack_from(record)
        contents = json.loads(bytes(record[_LENGTH.size : _LENGTH.size + length]))
        blobs = record[_LENGTH.size + length :]
        start, size = contents["model"]
        return Case(
            **{name: getattr(self.facts[case_id], name) for name in _FIELDS},
            model=Model(bytes(blobs[start : start + size])),
            data_sets=tuple(
                DataSet(*({n: _decode(v, blobs) for n, v in values.items()} for values in data_set))
                for data_set in contents["data_sets"]
            ),
            **dict(zip(_TEXTS, contents["texts"], strict=True)),
        )

    def _index(self) -> list[list[Any]]:
        view = self._view
        if view.nbytes < _HEADER.size:
            raise DataError(f"{self._source}: the file is truncated")
        magic, file_format, crc, index_length, length = _HEADER.unpack_from(view)
        if (magic, file_format) != (_MAGIC, FORMAT):
            raise DataError(f"{self._source}: not a case file of format {FORMAT}")
        index = bytes(view[_HEADER.size : _HEADER.size + index_length])
        if length != view.nbytes or zlib.crc32(index) != crc:
            raise DataError(f"{self._source}: the file is truncated or damaged")
        self._records = _HEADER.size + index_length
        rows: list[list[Any]] = json.loads(index)
        return rows


def encode_cases(cases: Iterable[Case]) -> bytes:
    """The file of these cases. The same cases give the same bytes."""
    rows: list[list[Any]] = []
    records: list[bytes] = []
    end = 0
    for case in cases:
        record = _encode_record(case)
        place = [end, len(record), zlib.crc32(record)]
        rows.append([*(getattr(case, name) for name in _FIELDS), place])
        records.append(record + bytes(-len(record) % _ALIGN))
        end += len(records[-1])
    index = json.dumps(rows, separators=(",", ":")).encode()
    index += b" " * (-(_HEADER.size + len(index)) % _ALIGN)
    length = _HEADER.size + len(index) + end
    header = _HEADER.pack(_MAGIC, FORMAT, zlib.crc32(index), len(index), length)
    return b"".join([header, index, *records])


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is either whole or not there; several processes may do so at once.

    Raises OSError where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob("*.tmp"):
        with contextlib.suppress(OSError):  # another process may just have removed it
            if time.time() - path.stat().st_mtime > 3600:
                path.unlink()


def _encode_record(case: Case) -> bytes:
    blobs = _Blobs()
    table = {
        "model": blobs.put(case.model.data),
        "data_sets": [
            [{n: _encode(v, blobs) for n, v in values.items()} for values in (d.inputs, d.outputs)]
            for d in case.data_sets
        ],
        "texts": [getattr(case, name) for name in _TEXTS],
    }
    contents = json.dumps(table, separators=(",", ":")).encode()
    contents += b" " * (-(_LENGTH.size + len(contents)) % _ALIGN)
    return b"".join([_LENGTH.pack(len(contents)), contents, *blobs.parts])


class _Blobs:
    """The bytes behind a record's table of contents, each aligned."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self.end = 0

    def put(self, data: bytes | memoryview) -> tuple[int, int]:
        start, length = self.end, len(data)
        gap = bytes(-length % _ALIGN)
        self.parts += [data, gap]
        self.end += length + len(gap)
        return start, length


def _encode(value: Value | None, blobs: _Blobs) -> list[Any] | None:
    if isinstance(value, Tensor):
        return ["tensor", int(value.element_type), value.shape, *blobs.put(value.data.cast("B"))]
    if isinstance(value, SequenceValue):
        return ["sequence", value.type, [_encode(item, blobs) for item in value.items]]
    if isinstance(value, OptionalValue):
        return ["optional", value.type, _encode(value.value, blobs)]
    if isinstance(value, MapValue):
        return ["map", value.type, _encode(value.keys, blobs), _encode(value.values, blobs)]
    return None


def _decode(entry: list[Any], blobs: memoryview) -> Value:
    kind = entry[0]
    if kind == "tensor":
        return _decode_tensor(entry, blobs)
    if kind == "sequence":
        return SequenceValue(entry[1], tuple(_decode(item, blobs) for item in entry[2]))
    if kind == "optional":
        return OptionalValue(entry[1], None if entry[2] is None else _decode(entry[2], blobs))
    return MapValue(entry[1], _decode_tensor(entry[2], blobs), _decode_tensor(entry[3], blobs))


def _decode_tensor(entry: list[Any], blobs: memoryview) -> Tensor:
    _, element_type, shape, start, length = entry
    return Tensor(ElementType(element_type), tuple(shape), blobs[start : start + length])
