"""Which model it is: a fingerprint of its graph and weights, without reading gigabytes twice."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hal.errors import ModelError
from hal.graph import Signature, ValueInfo, read_model
from hal.model import Model
from hal.store import Store

__all__ = ["HASHED", "Known", "identify"]

HASHED = 256 << 20
"""Bytes of external weights that are hashed; a file beyond goes by inode, size and time."""
_SETTLED = 2.0
"""Seconds after which a file's time tells it from one written before: clocks have ticks."""


@dataclasses.dataclass(frozen=True)
class Known:
    """A checked model, its signature, and its fingerprint over graph and external weights.

    `name` is that of its file, "" without one. `fresh` says that the store did not know it, so that
    it was read whole.
    """

    model: Model
    signature: Signature
    fingerprint: str
    fresh: bool
    name: str = ""


def identify(source: Any, store: Store) -> Known:
    """Read a model and find out which it is. One that the store knows is neither hashed nor
    decoded anew. Raises ModelError for what is no valid model, external data included."""
    model = source if isinstance(source, Model) else _read(source, store)
    external, found = _checked(model, model.fingerprint, store)
    fingerprint = model.fingerprint[:32]
    if external:
        if model.folder is None:
            read_model(model)  # raises, and says for which tensor
        fingerprint += "+" + _weights(model, external, store)
        external, found = _checked(model, fingerprint, store)  # other weights may be too short
    signature, fresh = found
    name = Path(source).name if isinstance(source, (str, os.PathLike)) else ""
    return Known(_with_external(model, external), signature, fingerprint, fresh, name)


def _checked(model: Model, key: str, store: Store) -> tuple[list[str], tuple[Signature, bool]]:
    """The external files and the signature of a model; whether it had to be read for them."""
    document = store.get("models", key)
    if document is not None:
        try:
            return list(document["external"]), (_signature(document), False)
        except (KeyError, TypeError, ValueError):
            pass  # another HAL's: written anew
    graph = read_model(model)
    signature, external = Signature.of(graph.graph), list(graph.external)
    store.put("models", key, _document(signature, external))
    return external, (signature, True)


def _read(source: Any, store: Store) -> Model:
    """The model of a source; a file whose identity the store has keeps its fingerprint."""
    if not isinstance(source, (str, os.PathLike)):
        return Model.of(source)
    path = Path(source)
    before = _identity(path)
    model = Model.from_path(path)
    if before and before == _identity(path):
        known = store.get("files", before)
        if known is not None:
            model.__dict__["fingerprint"] = known["fingerprint"]  # what the cached property keeps
        elif _settled(path):
            store.put("files", before, {"fingerprint": model.fingerprint})
    return model


def _with_external(model: Model, external: list[str]) -> Model:
    """The model with what is known of its external files; without any it needs no folder."""
    made = Model(model.data, model.folder if external else None, tuple(external))
    made.__dict__["fingerprint"] = model.fingerprint
    return made


def _weights(model: Model, external: list[str], store: Store) -> str:
    digest = hashlib.sha256()
    for location in sorted(external):
        path = (model.folder or Path()) / location
        identity = _identity(path)
        if not identity:
            raise ModelError(f"external data {location!r} cannot be read")
        digest.update(f"{location}\0{_content(path, identity, store)}\0".encode())
    return digest.hexdigest()[:32]


def _content(path: Path, identity: str, store: Store) -> str:
    known = store.get("files", identity)
    if known is not None:
        return str(known["fingerprint"])
    if path.stat().st_size > HASHED:
        return identity
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else None
        content = found.hexdigest() if found else hashlib.sha256(file.read()).hexdigest()
    if _settled(path):
        store.put("files", identity, {"fingerprint": content})
    return content


def _identity(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    # Not st_ctime: hal-openvino links external data into a folder of its own, which changes it.
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _settled(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _SETTLED


def _document(signature: Signature, external: list[str]) -> dict[str, Any]:
    groups = ("inputs", "outputs", "defaults")
    infos = {g: [[i.name, i.type, i.shape] for i in getattr(signature, g)] for g in groups}
    return {**infos, "external": external}


def _signature(document: Mapping[str, Any]) -> Signature:
    def infos(group: str) -> tuple[ValueInfo, ...]:
        return tuple(
            ValueInfo(name, type_, None if shape is None else tuple(shape))
            for name, type_, shape in document[group]
        )

    return Signature(infos("inputs"), infos("outputs"), infos("defaults"))
