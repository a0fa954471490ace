"""One-node models on torch:cpu, the same on ONNX's reference evaluator, and the official cases."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hal_conformance.case import load_suite
from hal_conformance.judge import run_case
from hal_torch import hal_backends
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hal.backend import Backend
from hal.compare import compare
from hal.device import Device
from hal.model import Model
from hal.outcome import Outcome
from hal.tensor import Tensor
from hal.types import ElementType

SPEC = hal_backends()[0]
Arrays = Sequence[Any]


@pytest.fixture(scope="session")
def values() -> Callable[..., Any]:
    """values(dtype, shape, special=False): normal floats, or integers over the whole range (both
    ends first); `special` starts floats with NaN, the infinities, both zeros and a half."""

    def made(dtype: Any, shape: Sequence[int], *, special: bool = False) -> Any:
        random = np.random.default_rng(len(shape) + 7)
        dtype = np.dtype(dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            whole = random.integers(limits.min, limits.max, tuple(shape), dtype, endpoint=True)
            whole.ravel()[:4] = [limits.min, limits.max, 0, 1][: whole.size]
            return whole
        found = random.normal(size=tuple(shape)).astype(np.float32) * 2
        if special and found.size >= 6:
            found.ravel()[:6] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 2.5]
        return found.astype(dtype)

    return made


@pytest.fixture(scope="session")
def torch_backend() -> Backend:
    return SPEC.factory()


@pytest.fixture(scope="session")
def torch_cpu(torch_backend: Backend) -> Device:
    return next(d for d in torch_backend.devices() if d.id == "torch:cpu")


def _proto(name: str, array: Any) -> TensorProto:
    made = TensorProto(
        name=name, data_type=int(ElementType.from_dtype(array.dtype)), dims=array.shape
    )
    if array.dtype.kind == "O":
        made.string_data.extend(s.encode() for s in array.ravel())
    else:
        made.raw_data = bytes(Tensor.from_numpy(array).data)
    return made


def _model(
    op_type: str,
    inputs: Arrays,
    outputs: Sequence[str],
    attributes: Mapping[str, Any] | None,
    opset: int,
    constant: Collection[int],
) -> tuple[ModelProto, dict[str, Any]]:
    given = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    known = {f"x{i}" for i in constant}
    node = helper.make_node(
        op_type,
        [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)],
        [f"y{i}" for i in range(len(outputs))],
        name="node",
        **(attributes or {}),
    )
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, int(ElementType.from_dtype(x.dtype)), x.shape)
            for n, x in given.items()
            if n not in known
        ],
        [
            helper.make_tensor_value_info(
                f"y{i}", int(ElementType.from_onnx_name(t or "float")), None
            )
            for i, t in enumerate(outputs)
        ],
        [_proto(n, x) for n, x in given.items() if n in known],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=13)
    return model, {n: x for n, x in given.items() if n not in known}


@pytest.fixture(scope="session")
def run_node(torch_backend: Backend, torch_cpu: Device) -> Callable[..., list[Tensor]]:
    """run_node(op_type, inputs, outputs, attributes=None, opset=25, constant=()): the outputs of a
    one-node model on torch:cpu. `outputs` names their element types; None is an absent input, and
    the inputs at the positions `constant` are initializers."""

    def run(
        op_type: str,
        inputs: Arrays,
        outputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        opset: int = 25,
        constant: Collection[int] = (),
    ) -> list[Tensor]:
        model, feeds = _model(op_type, inputs, outputs, attributes, opset, constant)
        executable = torch_backend.compile(torch_cpu, Model(model.SerializeToString()), {})
        got = executable.run({n: Tensor.from_numpy(x) for n, x in feeds.items()})
        return [got[f"y{i}"] for i in range(len(outputs))]

    return run


@pytest.fixture(scope="session")
def check_node(run_node: Callable[..., list[Tensor]]) -> Callable[..., None]:
    """check_node(..., rtol=0.0, atol=0.0, expected=None): like run_node, and asserts that the
    outputs are `expected` (arrays), or else what ONNX's reference evaluator gives."""

    def check(
        op_type: str,
        inputs: Arrays,
        outputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        opset: int = 25,
        constant: Collection[int] = (),
        rtol: float = 0.0,
        atol: float = 0.0,
        expected: Arrays | None = None,
    ) -> None:
        got = run_node(op_type, inputs, outputs, attributes, opset=opset, constant=constant)
        if expected is None:
            model, feeds = _model(op_type, inputs, outputs, attributes, opset, constant)
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                expected = ReferenceEvaluator(model).run(None, feeds)
        for want, have in zip(expected, got, strict=True):
            reason = compare(Tensor.from_numpy(np.asarray(want)), have, rtol=rtol, atol=atol)
            shown = [None if x is None else f"{x.dtype}{list(x.shape)}" for x in inputs]
            assert not reason, f"{op_type}-{opset} {shown} {attributes or ''}: {reason}"

    return check


@pytest.fixture(scope="session")
def official_failures(torch_backend: Backend, torch_cpu: Device) -> Callable[..., list[str]]:
    """official_failures(operators): runs every official case in which no other operators occur;
    gives those that do not pass. Asserts that there are such cases."""
    suite = load_suite("onnx")

    def failures(operators: Collection[str]) -> list[str]:
        ids = [
            facts.id
            for facts in suite
            if set(facts.operators) <= set(operators) and not facts.disputed
        ]
        assert ids, f"no official case of {sorted(operators)}"
        results = [run_case(suite.load(i), torch_cpu, SPEC, torch_backend, {}) for i in ids]
        return [f"{r.id}: {r.outcome} {r.reason}" for r in results if r.outcome is not Outcome.PASS]

    return failures


@pytest.fixture(scope="session")
def check_ort(torch_backend: Backend, torch_cpu: Device) -> Callable[..., list[Tensor]]:
    """check_ort(op_type, inputs, outputs, attributes=None, domain="com.microsoft", version=1,
    constant=(), rtol=1e-4, atol=1e-5): like check_node for a node of any domain, against
    onnxruntime. An output "" is not asked for. Gives what torch:cpu gave."""
    import onnxruntime

    def check(
        op_type: str,
        inputs: Arrays,
        outputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "com.microsoft",
        version: int = 1,
        constant: Collection[int] = (),
        rtol: float = 1e-4,
        atol: float = 1e-5,
    ) -> list[Tensor]:
        model, feeds = _model(op_type, inputs, outputs, attributes, 20, constant)
        model.ir_version = 10
        node = model.graph.node[0]
        node.domain = domain
        node.output[:] = [f"y{i}" if t else "" for i, t in enumerate(outputs)]
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, version))
        kept = [o for o, t in zip(model.graph.output, outputs, strict=True) if t]
        del model.graph.output[:]
        model.graph.output.extend(kept)
        data = model.SerializeToString()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        wanted = session.run(None, feeds)
        executable = torch_backend.compile(torch_cpu, Model(data), {})
        got = executable.run({n: Tensor.from_numpy(x) for n, x in feeds.items()})
        made = [got[o.name] for o in kept]
        for want, have in zip(wanted, made, strict=True):
            reason = compare(Tensor.from_numpy(np.asarray(want)), have, rtol=rtol, atol=atol)
            assert not reason, f"{op_type} {attributes or ''}: {reason}"
        return made

    return check


@pytest.fixture(scope="session")
def run_microsoft(torch_backend: Backend, torch_cpu: Device) -> Callable[..., list[Any]]:
    """run_microsoft(op_type, inputs, attributes=None): the outputs of a node of com.microsoft on
    torch:cpu as NumPy arrays."""

    def run(op_type: str, inputs: Any, attributes: Any = None) -> list[Any]:
        given = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
        count = 3 if op_type == "GroupQueryAttention" else 1
        names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
        outputs = [f"y{i}" for i in range(count)]
        node = helper.make_node(
            op_type, names, outputs, "node", domain="com.microsoft", **(attributes or {})
        )
        kind = helper.np_dtype_to_tensor_dtype
        graph = helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info(n, kind(x.dtype), x.shape) for n, x in given.items()],
            [helper.make_tensor_value_info(n, kind(inputs[0].dtype), None) for n in outputs],
        )
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
        model = Model(helper.make_model(graph, opset_imports=opsets).SerializeToString())
        executable = torch_backend.compile(torch_cpu, model, {})
        got = executable.run({n: Tensor.from_numpy(x) for n, x in given.items()})
        return [got[n].numpy() for n in outputs]

    return run
