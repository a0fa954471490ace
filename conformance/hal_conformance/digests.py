"""What a case is made of, as digests: the same id must give the same model, inputs and outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from hal import MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal_conformance.case import Case

__all__ = ["PARTS", "case_digest"]

PARTS = ("model", "inputs", "expected outputs")
_LENGTH = 16  # hexadecimal digits: it tells cases apart, and is no signature


def case_digest(case: Case) -> str:
    """The digests of PARTS, joined by colons."""
    inputs = _values(data.inputs for data in case.data_sets)
    outputs = _values(data.outputs for data in case.data_sets)
    model = hashlib.sha256(case.model.data).hexdigest()[:_LENGTH]
    return f"{model}:{inputs}:{outputs}"


def _values(data_sets: Iterable[Mapping[str, Value]]) -> str:
    digest = hashlib.sha256()
    for number, values in enumerate(data_sets):
        for name in sorted(values):
            digest.update(f"\0{number}\0{name}\0".encode("utf-8", "surrogatepass"))
            _add(digest, values[name])
    return digest.hexdigest()[:_LENGTH]


def _add(digest: hashlib._Hash, value: Value | None) -> None:
    if value is None:
        digest.update(b"none\0")
        return
    digest.update(f"{value.type}\0".encode())
    if isinstance(value, Tensor):
        digest.update(f"{value.shape}\0".encode())
        digest.update(value.data.cast("B"))
    elif isinstance(value, SequenceValue):
        digest.update(f"{len(value.items)}\0".encode())
        for item in value.items:
            _add(digest, item)
    elif isinstance(value, OptionalValue):
        _add(digest, value.value)
    elif isinstance(value, MapValue):
        _add(digest, value.keys)
        _add(digest, value.values)
