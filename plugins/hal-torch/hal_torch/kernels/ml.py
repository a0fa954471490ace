"""ai.onnx.ml: features, encoders and maps; linear and support vector models are in `_ml_linear`.

Rows for strings and maps compute on the host. Where the standard leaves a shape or a case open,
these do as onnxruntime does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal.types import ElementType
from hal_torch.kernels import _ml_linear
from hal_torch.kernels._ml_scores import DOMAIN, plain_float

__all__ = ["table"]

table = KernelTable()
table.update(_ml_linear.table)

Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]

NUMBERS = {"float", "double", "int64", "int32"}
ENCODED = {"float", "double", "int64", "int32", "int16"}
UNUSED = "_Unused"


def _objects(values: Sequence[str], shape: Sequence[int]) -> Host:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made.reshape(tuple(shape))


def _integral(x: Tensor) -> bool:
    return not x.dtype.is_floating_point


@table.kernel("ArrayFeatureExtractor", 1, domain=DOMAIN, types={"T": NUMBERS})
def array_feature_extractor(x: Tensor, indices: Tensor) -> Tensor:
    found = x.index_select(-1, indices.reshape(-1))
    return found.unsqueeze(0) if x.dim() == 1 else found


@table.kernel("ArrayFeatureExtractor", 1, domain=DOMAIN, types={"T": {"string"}}, host_only=True)
def array_feature_extractor_of_strings(x: Host, indices: Host) -> Host:
    found = x[..., indices.reshape(-1)]
    return found[None] if x.ndim == 1 else found


@table.kernel("Binarizer", 1, domain=DOMAIN)
def binarizer(x: Tensor, *, threshold: float = 0.0) -> Tensor:
    return (x > threshold).to(x.dtype)


@table.kernel("FeatureVectorizer", 1, domain=DOMAIN)
def feature_vectorizer(*xs: Tensor, inputdimensions: Sequence[int]) -> Tensor:
    parts = []
    for x, width in zip(xs, inputdimensions, strict=True):
        part = x.flatten(1) if x.dim() > 1 else x.unsqueeze(0)
        if width > part.shape[1]:
            part = torch.nn.functional.pad(part, (0, width - part.shape[1]))
        parts.append(part[:, :width].to(torch.float32))
    return torch.cat(parts, 1)


@table.specialized(
    "Imputer",
    1,
    domain=DOMAIN,
    attributes=(
        "imputed_value_floats",
        "imputed_value_int64s",
        "replaced_value_float",
        "replaced_value_int64",
    ),
)
def imputer(node: NodeInfo) -> Callable[[Tensor], Tensor]:
    integral = "int" in node.input_types[0]
    kind = "int64" if integral else "float"
    values = node.attributes.get(f"imputed_value_{kind}s") or ()
    replaced = node.attributes.get(f"replaced_value_{kind}", 0)
    if not values:
        raise UnsupportedError(f"{node.input_types[0]} needs imputed_value_{kind}s")
    dtype = torch.int64 if integral else torch.float64
    new = torch.tensor(values, dtype=dtype, device=node.arrays.device)
    missing = replaced != replaced

    def run(x: Tensor) -> Tensor:
        return torch.where(x.isnan() if missing else x == replaced, new.to(x.dtype), x)

    return run


@table.kernel("Normalizer", 1, domain=DOMAIN)
def normalizer(x: Tensor, *, norm: str = "MAX") -> Tensor:
    x = plain_float(x)
    axis = min(x.dim() - 1, 1)
    if norm == "MAX":
        size = x.amax(axis, keepdim=True)
    elif norm == "L1":
        size = x.abs().sum(axis, keepdim=True)
    elif norm == "L2":
        size = torch.linalg.vector_norm(x, 2, axis, keepdim=True)
    else:
        raise ValueError(f"norm {norm!r} is none of MAX, L1, L2")
    return torch.where(size == 0, x, x / size).to(torch.float32)


@table.specialized("Scaler", 1, domain=DOMAIN, attributes=("offset", "scale"))
def scaler(node: NodeInfo) -> Callable[[Tensor], Tensor]:
    device = node.arrays.device
    offset = torch.tensor(node.attributes.get("offset") or (0.0,), device=device)
    scale = torch.tensor(node.attributes.get("scale") or (1.0,), device=device)

    def run(x: Tensor) -> Tensor:
        x = plain_float(x)
        return ((x - offset.to(x.dtype)) * scale.to(x.dtype)).to(torch.float32)

    return run


# One-hot and label encoders


def _unknown(zeros: int, hits: Any) -> None:
    if not zeros and not bool(hits.any(-1).all()):
        raise ValueError("an element is of no category, and the attribute zeros is 0")


@table.specialized(
    "OneHotEncoder",
    1,
    domain=DOMAIN,
    types={"T": NUMBERS},
    attributes=("cats_int64s", "cats_strings", "zeros"),
)
def one_hot_encoder(node: NodeInfo) -> Callable[[Tensor], Tensor]:
    categories = torch.tensor(
        node.attributes.get("cats_int64s") or (), dtype=torch.int64, device=node.arrays.device
    )
    zeros = int(node.attributes.get("zeros", 1))
    if not categories.numel():
        raise UnsupportedError("it has no cats_int64s for an input of numbers")

    def run(x: Tensor) -> Tensor:
        hits = x.to(torch.int64).unsqueeze(-1) == categories
        _unknown(zeros, hits)
        return hits.to(torch.float32)

    return run


@table.kernel("OneHotEncoder", 1, domain=DOMAIN, types={"T": {"string"}}, host_only=True)
def one_hot_encoder_of_strings(
    x: Host, *, cats_strings: Sequence[str], cats_int64s: Sequence[int] = (), zeros: int = 1
) -> Host:
    hits = x[..., None] == _objects(list(cats_strings), (-1,))
    _unknown(zeros, hits)
    encoded: Host = hits.astype(np.float32)
    return encoded


def _mapped(x: Host, known: Mapping[Any, Any], default: Any, dtype: Any) -> Host:
    values = [known.get(key, default) for key in x.reshape(-1).tolist()]
    if dtype is object:
        return _objects(values, x.shape)
    made: Host = np.array(values, dtype=dtype).reshape(x.shape)
    return made


def _by_class(x: Host, names: Sequence[str], numbers: Sequence[int], missing: Any) -> Host:
    """Strings to numbers, or numbers to strings."""
    if x.dtype.kind == "i":
        pairs = zip(reversed(numbers), reversed(names), strict=True)
        return _mapped(x, dict(pairs), missing[1], object)
    pairs_back = zip(reversed(names), reversed(numbers), strict=True)
    return _mapped(x, dict(pairs_back), missing[0], np.int64)


@table.kernel("CategoryMapper", 1, domain=DOMAIN, host_only=True)
def category_mapper(
    x: Host,
    *,
    cats_int64s: Sequence[int],
    cats_strings: Sequence[str],
    default_int64: int = -1,
    default_string: str = UNUSED,
) -> Host:
    return _by_class(x, cats_strings, cats_int64s, (default_int64, default_string))


@table.kernel("LabelEncoder", 1, domain=DOMAIN, host_only=True)
def label_encoder_1(
    x: Host,
    *,
    classes_strings: Sequence[str],
    default_int64: int = -1,
    default_string: str = UNUSED,
) -> Host:
    numbers = range(len(classes_strings))
    return _by_class(x, classes_strings, numbers, (default_int64, default_string))


KINDS = ("floats", "int64s", "strings", "tensor")
ENCODER = (
    *(f"{what}_{kind}" for what in ("keys", "values") for kind in KINDS),
    *("default_float", "default_int64", "default_string", "default_tensor"),
)


def _dtype(type_: str) -> Any:
    element_type = ElementType.from_onnx_name(type_[len("tensor(") : -1])
    return object if element_type is ElementType.STRING else element_type.dtype()


def _listed(node: NodeInfo, what: str, dtype: Any) -> Host:
    for kind in KINDS:
        values = node.attributes.get(f"{what}_{kind}")
        if kind == "tensor" and isinstance(values, Tensor):
            values = values.cpu().numpy()
        if values is not None and len(values):
            return np.asarray(values, dtype=dtype)
    raise UnsupportedError(f"it has no {what}")


def _default(node: NodeInfo, dtype: Any) -> Any:
    """The value of a key that is not listed: the attribute of the output's type."""
    given = node.attributes.get("default_tensor")
    if given is not None:
        given = given.cpu().numpy() if isinstance(given, Tensor) else given
        return dtype(given.item()) if dtype is not object else str(given.item())
    if dtype is object:
        return node.attributes.get("default_string", UNUSED)
    if np.dtype(dtype).kind == "f":
        return node.attributes.get("default_float", -0.0)
    return node.attributes.get("default_int64", -1)


@table.specialized(
    "LabelEncoder",
    2,
    4,
    domain=DOMAIN,
    types={"T1": ENCODED, "T2": ENCODED},
    attributes=ENCODER,
)
def label_encoder(node: NodeInfo) -> Callable[[Tensor], Tensor]:
    """Numbers to numbers: a search in the sorted keys. The first of equal keys counts. NaN finds
    the key NaN from version 4 on, as in onnxruntime."""
    keys = _listed(node, "keys", np.dtype(_dtype(node.input_types[0]))).reshape(-1)
    out = np.dtype(_dtype(node.output_types[0]))
    values = _listed(node, "values", out).reshape(-1)
    default = np.array(_default(node, out.type), dtype=out)
    nan = np.flatnonzero(keys != keys)[:1] if node.version >= 4 else np.zeros(0, dtype=np.int64)
    for_nan = values[nan[0]] if len(nan) else default
    real = keys == keys
    ordered, first = np.unique(keys[real], return_index=True)
    if not len(ordered):
        raise UnsupportedError("it has no key but NaN")
    device = node.arrays.device
    sorted_keys, found_values, default_value, nan_value = (
        torch.from_numpy(np.array(a)).to(device)
        for a in (ordered, values[real][first], default, for_nan)
    )

    def run(x: Tensor) -> Tensor:
        x = x.contiguous()
        at = torch.searchsorted(sorted_keys, x).clamp_(max=len(sorted_keys) - 1)
        found = torch.where(sorted_keys[at] == x, found_values[at], default_value)
        return torch.where(x.isnan(), nan_value, found) if len(nan) else found

    return run


@table.specialized("LabelEncoder", 2, 4, domain=DOMAIN, attributes=ENCODER, host_only=True)
def label_encoder_of_strings(node: NodeInfo) -> Callable[[Host], Host]:
    keys = _listed(node, "keys", _dtype(node.input_types[0])).reshape(-1)
    out = _dtype(node.output_types[0])
    values = _listed(node, "values", out).reshape(-1)
    pairs = zip(reversed(keys.tolist()), reversed(values.tolist()), strict=True)
    known = dict(pairs)
    default = _default(node, out if out is object else np.dtype(out).type)
    missing = default
    if node.version >= 4:
        missing = next((value for key, value in known.items() if key != key), default)

    def run(x: Host) -> Host:
        found = _mapped(x, known, default, out)
        if x.dtype.kind == "f":
            found[np.isnan(x)] = missing
        return found

    return run


# Maps


@table.kernel("CastMap", 1, domain=DOMAIN, host_only=True)
def cast_map(
    x: Mapping[int, Any],
    *,
    cast_to: str = "TO_FLOAT",
    map_form: str = "DENSE",
    max_map: int = 1,
) -> Host:
    """A row [1, N] of the values by rising key; with SPARSE the key is the column of max_map."""
    if cast_to not in ("TO_FLOAT", "TO_INT64", "TO_STRING"):
        raise ValueError(f"cast_to {cast_to!r} is none of TO_FLOAT, TO_INT64, TO_STRING")
    pairs = sorted(x.items())
    if map_form == "SPARSE":
        if pairs and not 0 <= pairs[0][0] <= pairs[-1][0] < max_map:
            raise ValueError(f"a key of the map is not from 0 to {max_map - 1} (max_map)")
        known = dict(pairs)
        values = [known.get(column) for column in range(max_map)]
    else:
        values = [value for _, value in pairs]
    if cast_to == "TO_STRING":
        made = ["" if v is None else v if isinstance(v, str) else f"{v:f}" for v in values]
        return _objects(made, (1, -1))
    if cast_to == "TO_INT64":
        return np.array([[int(float(v or 0)) for v in values]], dtype=np.int64)
    return np.array([[float(v or 0) for v in values]], dtype=np.float32)


@table.kernel("DictVectorizer", 1, domain=DOMAIN, host_only=True)
def dict_vectorizer(
    x: Mapping[Any, Any],
    *,
    int64_vocabulary: Sequence[int] = (),
    string_vocabulary: Sequence[str] = (),
    node: NodeInfo,
) -> Host:
    dtype = _dtype(node.output_types[0])
    empty = "" if dtype is object else 0
    values = [x.get(key, empty) for key in string_vocabulary or int64_vocabulary]
    return _objects(values, (1, -1)) if dtype is object else np.array([values], dtype=dtype)


@table.kernel("ZipMap", 1, domain=DOMAIN, host_only=True)
def zip_map(
    x: Host,
    *,
    classlabels_int64s: Sequence[int] = (),
    classlabels_strings: Sequence[str] = (),
) -> list[dict[Any, float]]:
    labels = classlabels_strings or classlabels_int64s
    rows = x if x.ndim > 1 else x[None]
    return [dict(zip(labels, row, strict=True)) for row in rows.tolist()]
