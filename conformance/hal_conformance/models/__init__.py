"""The zoo: 22 real architectures with seeded random weights, for whole-model tests and benchmarks.

Nine are the "light" models of the onnx wheel, thirteen are small configurations of transformers'
classes (and torch.nn.LSTM). HAL ships their graphs without weights, some ten KB each; `load` draws
these anew and keeps the model in HAL's cache folder. `generate` makes the graphs again.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from hal import Model
from hal.errors import UsageError, did_you_mean
from hal.paths import cache_dir
from hal_conformance.casefile import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

__all__ = ["LIGHT", "ModelInfo", "bare", "info", "load", "names", "path"]

LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
"""The light models of the onnx wheel; all others are exported (see `architectures`)."""

_SUFFIX = ".onnx.gz"


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without its weights.

    `inputs` has the type and the shape of each input; `dynamic` names the dimensions that the model
    leaves open ("batch", "sequence", ...); `parameters` counts the numbers in its weights, and
    `nodes` its nodes.
    """

    name: str
    inputs: Mapping[str, tuple[str, tuple[int | str | None, ...]]]
    dynamic: tuple[str, ...]
    parameters: int
    nodes: int


def names() -> tuple[str, ...]:
    """The names of all models, sorted."""
    return tuple(sorted(p.name[: -len(_SUFFIX)] for p in _graphs() if p.name.endswith(_SUFFIX)))


def load(name: str) -> Model:
    """A model with its weights, the same bytes each time. Raises UsageError for an unknown name,
    OSError if the cache folder cannot be written."""
    return Model.from_path(path(name))


def path(name: str) -> Path:
    """The file of a model with its weights, made on first use. Raises as `load` does."""
    packed = _packed(name)
    digest = hashlib.sha256(packed + _recipes()).hexdigest()[:12]
    file = cache_dir() / "models" / f"{name}-{digest}.onnx"
    if not file.exists():
        write_atomically(file, _filled(packed))
    return file


def bare(name: str) -> onnx.ModelProto:
    """A model without weights: their TensorProtos have a type and a shape, and no data."""
    import onnx

    return onnx.load_from_string(gzip.decompress(_packed(name)))


@functools.cache
def info(name: str) -> ModelInfo:
    """What is known of a model without its weights. Raises UsageError for an unknown name."""
    from hal_conformance.model_facts import type_string

    graph = bare(name).graph
    inputs: dict[str, tuple[str, tuple[int | str | None, ...]]] = {}
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        inputs[value.name] = (
            type_string(value.type),
            tuple(d.dim_param or (d.dim_value if d.HasField("dim_value") else None) for d in dims),
        )
    dynamic = dict.fromkeys(d for _, s in inputs.values() for d in s if isinstance(d, str))
    count = 0
    for tensor in graph.initializer:
        size = 1
        for extent in tensor.dims:
            size *= extent
        count += size
    return ModelInfo(name, inputs, tuple(dynamic), count, len(graph.node))


def _filled(packed: bytes) -> bytes:
    import onnx

    from hal_conformance.models._weights import fill

    model = onnx.load_from_string(gzip.decompress(packed))
    fill(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _graphs() -> list[Path]:
    return [Path(str(p)) for p in (resources.files(__name__) / "graphs").iterdir()]


@functools.cache
def _packed(name: str) -> bytes:
    if name not in names():
        raise UsageError(
            f"there is no model {name!r}.{did_you_mean(name, names())}",
            next_step=f"choose one of: {', '.join(names())}",
        )
    return (resources.files(__name__) / "graphs" / f"{name}{_SUFFIX}").read_bytes()


@functools.cache
def _recipes() -> bytes:
    return (resources.files(__name__) / "_weights.py").read_bytes()
