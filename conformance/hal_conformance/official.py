"""ONNX's official backend cases, taken from the installed onnx package and made cases of HAL's.

Models are used unchanged but for the names of their nodes. Tolerances are the ones that ONNX's own
runner applies: 1e-3 relative and 1e-7 absolute unless the case states others, and two units in the
last place (2**-6 relative) where an output is bfloat16.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from hal import ElementType, MapValue, Model, OptionalValue, SequenceValue, Tensor, Value
from hal_conformance.case import Case, DataSet
from hal_conformance.disputed import Disputed
from hal_conformance.model_facts import model_facts, name_nodes, type_string

__all__ = ["KINDS", "official_cases", "value_of"]

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
"""The kinds of official cases that bring their own models and data. "real" is left out: its models
have constant weights, and its inputs are made up by the runner."""

_BFLOAT16_RTOL = 2.0**-6
_TOLERANCE = "ONNX's own runner: what the case states, 1e-3 relative and 1e-7 absolute otherwise"
_BFLOAT16 = "; two units in the last place of bfloat16 at least"
_FILES = {"tensor_type": onnx.TensorProto, "sequence_type": onnx.SequenceProto}


def official_cases(disputed: Disputed) -> Iterator[Case]:
    """Every official case, by kind and name. The same onnx release gives the same bytes."""
    with _reproducible():
        for kind in KINDS:
            for test in sorted(load_model_tests(kind=kind), key=lambda t: str(t.name)):
                yield _case(f"onnx/{kind}/{test.name}", test, disputed)


def _case(case_id: str, test: Any, disputed: Disputed) -> Case:
    if test.model_dir is None:
        model = onnx.ModelProto()
        model.CopyFrom(test.model)
        raw_sets = test.data_sets
    else:
        model = onnx.load(Path(test.model_dir) / "model.onnx")
        folders = sorted(Path(test.model_dir).glob("test_data_set_*"))
        raw_sets = [_read_data_set(model, folder) for folder in folders]
    name_nodes(model)
    facts = model_facts(model)
    data_sets = tuple(
        DataSet(_values(model.graph.input, inputs), _values(model.graph.output, outputs))
        for inputs, outputs in raw_sets
    )
    bfloat16 = any(_is_bfloat16(v) for d in data_sets for v in d.outputs.values())
    entry = disputed.find(case_id)
    return Case(
        id=case_id,
        suite="onnx",
        nodes=facts.nodes,
        operators=facts.operators,
        cells=facts.cells,
        single_operator=facts.single_operator,
        expanded="_expanded" in test.name,
        opset=facts.opset,
        ir_version=facts.ir_version,
        rtol=max(test.rtol, _BFLOAT16_RTOL) if bfloat16 else test.rtol,
        atol=test.atol,
        disputed=entry.reason if entry and entry.judge == "disputed" else "",
        judge="statistics" if entry and entry.judge == "statistics" else "values",
        model=Model(model.SerializeToString(deterministic=True)),
        data_sets=data_sets,
        tolerance_source=_TOLERANCE + (_BFLOAT16 if bfloat16 else ""),
        oracles=f"the outputs that onnx {onnx.__version__} brings",
    )


def value_of(raw: Any, proto: onnx.TypeProto) -> Value:
    """HAL's value of what a test case holds (an array, a scalar, a TensorProto, a list, a dict or
    None) for a graph input or output of this type. Raises TypeError for anything else."""
    kind = proto.WhichOneof("value")
    if kind == "optional_type":
        element = proto.optional_type.elem_type
        return OptionalValue(type_string(proto), None if raw is None else value_of(raw, element))
    if kind == "sequence_type":
        items = tuple(value_of(item, proto.sequence_type.elem_type) for item in raw)
        return SequenceValue(type_string(proto), items)
    if kind == "map_type":
        values = np.asarray(list(raw.values()))
        return MapValue(type_string(proto), _tensor(np.asarray(list(raw))), _tensor(values))
    if kind == "tensor_type":
        number = proto.tensor_type.elem_type
        tensor = _tensor(numpy_helper.to_array(raw) if isinstance(raw, onnx.TensorProto) else raw)
        if number != tensor.element_type:
            raise TypeError(f"a {tensor.type} is no value of type {type_string(proto)}")
        return tensor
    raise TypeError(f"no official case has a value of type {kind}")


def _tensor(raw: Any) -> Tensor:
    # A copy, because Tensor views its array and a test case may hold the same one twice.
    array = np.array(raw)
    if array.dtype.kind in "OUS":
        return Tensor.from_numpy(array.astype(object), ElementType.STRING)
    return Tensor.from_numpy(array)


def _values(infos: Iterable[onnx.ValueInfoProto], raw: Sequence[Any]) -> Mapping[str, Value]:
    # Inputs that have an initializer come last and have no value of their own.
    return {info.name: value_of(value, info.type) for info, value in zip(infos, raw, strict=False)}


def _is_bfloat16(value: Value) -> bool:
    if isinstance(value, SequenceValue):
        return any(_is_bfloat16(item) for item in value.items)
    return isinstance(value, Tensor) and value.element_type is ElementType.BFLOAT16


def _read_data_set(model: onnx.ModelProto, folder: Path) -> tuple[list[Any], list[Any]]:
    return _read(folder, "input", model.graph.input), _read(folder, "output", model.graph.output)


def _read(folder: Path, stem: str, infos: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    """The values of `<stem>_0.pb`, `<stem>_1.pb` ...; the i-th belongs to the i-th of `infos`."""
    values: list[Any] = []
    for number in range(len(list(folder.glob(f"{stem}_*.pb")))):
        data = (folder / f"{stem}_{number}.pb").read_bytes()
        if infos[number].type.HasField("sequence_type"):
            values.append(numpy_helper.to_list(onnx.SequenceProto.FromString(data)))
        else:
            values.append(onnx.TensorProto.FromString(data))
    return values


@contextlib.contextmanager
def _reproducible() -> Iterator[None]:
    """onnx's case modules draw from NumPy's global generator when they are first imported, and make
    infinities and NaN on purpose."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)
