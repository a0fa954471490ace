"""An independent judge of ONNX's official cases: it shares no code with HAL.

    python benchmarks/independent_runner.py                        all three engines
    python benchmarks/independent_runner.py --engine ort -k cast   some cases on one of them
    python benchmarks/independent_runner.py --against report.json  and where HAL disagrees

Cases come straight from the onnx package, are run by the reference evaluator, onnxruntime's CPU
provider and OpenVINO's CPU plugin (in float32), and are judged by the comparison of ONNX's own
runner. Each engine runs in a child process; a case that kills it or takes more than --timeout
seconds costs that case alone.

With --against, the exit code is 1 when HAL and this runner disagree on more than 1 % of the cases
of a device. The JSON report of `hal conformance --json` is read by its documented names.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DEVICES = {"reference": "reference:cpu", "ort": "ort:cpu", "openvino": "openvino:cpu"}
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
TOLERATED = 0.01
SUB_BYTE_BITS = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}


class Verdict(NamedTuple):
    """`word` is pass, wrong, error, crash or timeout."""

    word: str
    reason: str = ""


# The cases ---------------------------------------------------------------------------------------


def load_cases() -> dict[str, Any]:
    """onnx's own TestCase objects by HAL's ids."""
    from onnx.backend.test.loader import load_model_tests

    np.random.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {f"onnx/{k}/{t.name}": t for k in KINDS for t in load_model_tests(kind=k)}


def parts(test: Any) -> tuple[Any, list[tuple[list[Any], list[Any]]]]:
    """A test's ModelProto and its data sets, as arrays, lists and None."""
    import onnx
    from onnx import numpy_helper

    def plain(value: Any) -> Any:
        return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value

    if test.model is not None:
        sets = [([plain(v) for v in i], [plain(v) for v in o]) for i, o in test.data_sets]
        return test.model, sets
    folder = Path(test.model_dir)
    model = onnx.load(folder / "model.onnx")

    def read(data_set: Path, stem: str, infos: Any) -> list[Any]:
        values = []
        for number in range(len(list(data_set.glob(f"{stem}_*.pb")))):
            data = (data_set / f"{stem}_{number}.pb").read_bytes()
            if infos[number].type.HasField("sequence_type"):
                values.append(numpy_helper.to_list(onnx.SequenceProto.FromString(data)))
            else:
                values.append(numpy_helper.to_array(onnx.TensorProto.FromString(data)))
        return values

    return model, [
        (read(d, "input", model.graph.input), read(d, "output", model.graph.output))
        for d in sorted(folder.glob("test_data_set_*"))
    ]


# The engines: each makes of a model a function from inputs to outputs, both in graph order ------

Run = Callable[[Sequence[Any]], Sequence[Any]]


def prepare_reference(model: Any) -> Run:
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(model)
    names = [i.name for i in model.graph.input]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=False)))


def prepare_ort(model: Any) -> Run:
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [i.name for i in model.graph.input]
    wanted = [o.name for o in model.graph.output]
    # An OrtValue holds neither strings nor sequences; NumPy arrays and lists do.
    values = [*model.graph.input, *model.graph.output]
    by_ort_value = all(v.type.HasField("tensor_type") for v in values) and not any(
        v.type.tensor_type.elem_type == 8 for v in values
    )

    def run(inputs: Sequence[Any]) -> Sequence[Any]:
        if not by_ort_value:
            return list(session.run(wanted, dict(zip(names, inputs, strict=False))))
        feeds = {n: _to_ort(ort, np.asarray(v)) for n, v in zip(names, inputs, strict=False)}
        return [_from_ort(v) for v in session.run_with_ort_values(wanted, feeds)]

    return run


def _to_ort(ort: Any, array: Any) -> Any:
    from onnx.helper import np_dtype_to_tensor_dtype

    number = np_dtype_to_tensor_dtype(array.dtype)
    value = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), number, "cpu")
    octets = _pack(array)
    if octets:
        ctypes.memmove(value.data_ptr(), octets, len(octets))
    return value


def _from_ort(value: Any) -> Any:
    from onnx.helper import tensor_dtype_to_np_dtype

    dtype = np.dtype(tensor_dtype_to_np_dtype(value.element_type()))
    size = value.tensor_size_in_bytes()
    octets = ctypes.string_at(value.data_ptr(), size) if size else b""
    return _unpack(octets, dtype, tuple(value.shape()))


def _pack(array: Any) -> bytes:
    bits = SUB_BYTE_BITS.get(array.dtype.name)
    if bits is None:
        return np.ascontiguousarray(array).tobytes()
    octets = np.ascontiguousarray(array).reshape(-1).view(np.uint8) & ((1 << bits) - 1)
    octets = np.append(octets, np.zeros(-len(octets) % (8 // bits), np.uint8))
    columns = octets.reshape(-1, 8 // bits)
    shifted = columns << (np.arange(8 // bits, dtype=np.uint8) * bits)
    return bytes(np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8).tobytes())


def _unpack(octets: bytes, dtype: Any, shape: tuple[int, ...]) -> Any:
    bits = SUB_BYTE_BITS.get(dtype.name)
    flat = np.frombuffer(octets, np.uint8)
    if bits is None:
        return flat.view(dtype).reshape(shape)
    columns = flat[:, None] >> (np.arange(8 // bits, dtype=np.uint8) * bits)
    values = (columns & ((1 << bits) - 1)).reshape(-1)[: int(np.prod(shape))].astype(np.uint8)
    if dtype.name.startswith("int"):
        values = ((values << (8 - bits)).astype(np.uint8).view(np.int8) >> (8 - bits)).view(
            np.uint8
        )
    return values.view(dtype).reshape(shape)


def prepare_openvino(model: Any) -> Run:
    import openvino as ov

    core = ov.Core()
    parsed = core.read_model(model.SerializeToString())
    compiled = core.compile_model(parsed, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    names = [i.name for i in model.graph.input]
    known = [set(port.get_names()) & set(names) for port in parsed.inputs]

    def run(inputs: Sequence[Any]) -> Sequence[Any]:
        values = dict(zip(names, map(np.asarray, inputs), strict=False))
        for port, found, original in zip(compiled.inputs, known, parsed.inputs, strict=True):
            # Where an output is an input, the importer gives the input the output's name alone;
            # it is then the first of the inputs left over that has its shape.
            shape = original.get_partial_shape()
            fitting = (n for n, v in values.items() if shape.compatible(ov.PartialShape(v.shape)))
            name = next(iter(found), None) or next(n for n in fitting if {n} not in known)
            request.set_tensor(port, _to_openvino(ov, values[name]))
        request.infer()
        return [_from_openvino(request.get_tensor(port)) for port in compiled.outputs]

    return run


OPENVINO_TYPES = {
    "bfloat16": "bf16",
    "float8_e4m3fn": "f8e4m3",
    "float8_e5m2": "f8e5m2",
    "float8_e8m0fnu": "f8e8m0",
    "float4_e2m1fn": "f4e2m1",
    "int4": "i4",
    "uint4": "u4",
    "uint2": "u2",
}


def _to_openvino(ov: Any, array: Any) -> Any:
    if array.dtype.kind in "OUS":
        return ov.Tensor(array.astype(str))
    name = array.dtype.name
    if array.dtype.isbuiltin == 1:
        return ov.Tensor(np.array(array, order="C"))
    if name not in OPENVINO_TYPES:
        raise TypeError(f"OpenVINO has no type for {name}")
    tensor = ov.Tensor(getattr(ov.Type, OPENVINO_TYPES[name]), ov.Shape(array.shape))
    octets = _pack(array)
    if octets:
        ctypes.memmove(tensor.data.ctypes.data, octets, len(octets))
    return tensor


def _from_openvino(tensor: Any) -> Any:
    name = tensor.element_type.get_type_name()
    if name == "string":
        return np.asarray(tensor.str_data, dtype=object)
    ours = next((n for n, theirs in OPENVINO_TYPES.items() if theirs == name), None)
    if ours is None:
        return np.array(tensor.data)
    import ml_dtypes

    octets = (
        ctypes.string_at(tensor.data.ctypes.data, tensor.byte_size) if tensor.byte_size else b""
    )
    return _unpack(octets, np.dtype(getattr(ml_dtypes, ours)), tuple(tensor.shape))


PREPARE = {"reference": prepare_reference, "ort": prepare_ort, "openvino": prepare_openvino}


def judge(engine: str, test: Any) -> Verdict:
    """One case on one engine, by the comparison of ONNX's own runner."""
    from onnx.backend.test.runner import Runner

    try:
        model, data_sets = parts(test)
        run = PREPARE[engine](model)
        got = [run(inputs) for inputs, _ in data_sets]
    except Exception as error:  # noqa: BLE001 (whatever an engine raises is its verdict)
        return Verdict("error", f"{type(error).__name__}: {error}")
    try:
        for (_, expected), outputs in zip(data_sets, got, strict=True):
            Runner.assert_similar_outputs(expected, outputs, rtol=test.rtol, atol=test.atol)
    except Exception as error:  # noqa: BLE001 (an output that cannot be compared is a wrong one)
        return Verdict("wrong", str(error))
    return Verdict("pass")


# One engine, in children -----------------------------------------------------------------------


def child(engine: str, descriptor: int) -> None:
    """Judge the case ids on standard input; write a line when a case begins and when it ends."""
    cases = load_cases()
    with os.fdopen(descriptor, "w") as stream, np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for line in sys.stdin:
            case_id = line.strip()
            print(json.dumps([case_id]), file=stream, flush=True)
            verdict = judge(engine, cases[case_id])
            print(json.dumps([case_id, *verdict]), file=stream, flush=True)


def run_engine(engine: str, case_ids: Sequence[str], timeout: float) -> dict[str, Verdict]:
    verdicts: dict[str, Verdict] = {}
    while remaining := [i for i in case_ids if i not in verdicts]:
        for case_id, verdict in _run_batch(engine, remaining, timeout):
            verdicts[case_id] = verdict
    return verdicts


def _run_batch(
    engine: str, case_ids: Sequence[str], timeout: float
) -> Iterator[tuple[str, Verdict]]:
    """Verdicts until the child ends, by itself or by a case."""
    reader, writer = os.pipe()
    # A file, not a pipe: the child would stop at a full one, and so would we.
    with tempfile.TemporaryFile() as ids:
        ids.write("".join(f"{i}\n" for i in case_ids).encode())
        ids.seek(0)
        process = subprocess.Popen(
            [sys.executable, __file__, "--child", engine, str(writer)],
            stdin=ids,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[writer],
        )
    os.close(writer)
    current, buffer, hung = "", b"", False
    while True:
        # The first line comes only after the cases are made.
        if not select.select([reader], [], [], timeout if current else 120.0)[0]:
            hung = True
            break
        data = os.read(reader, 1 << 16)
        if not data:
            break
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            current, *rest = json.loads(line)
            if rest:
                yield current, Verdict(*rest)
                current = ""
    os.close(reader)
    if hung:
        process.kill()
    code = process.wait()
    if current:
        reason = f"no answer in {timeout:g} s" if hung else f"the engine ended with code {code}"
        yield current, Verdict("timeout" if hung else "crash", reason)
    elif code:
        raise SystemExit(f"the child for {engine} ended with code {code} before any case")


# The report ------------------------------------------------------------------------------------


def differences(
    device: str, verdicts: dict[str, Verdict], report: dict[str, Any]
) -> list[str] | None:
    """A line for each case on which HAL and this runner disagree; None if HAL lacks the device."""
    found = [r for r in report["reports"] if r["device"]["id"] == device]
    if not found:
        return None
    lines = []
    ours = {case["id"]: case for case in found[0]["cases"]}
    for case_id, verdict in verdicts.items():
        case = ours.get(case_id, {"outcome": "missing", "reason": "the report has no such case"})
        if (case["outcome"] == "pass") != (verdict.word == "pass"):
            here = " ".join(verdict.reason.split())[:160]
            lines.append(
                f"  {case_id}: HAL {case['outcome']} ({case['reason'][:160]}); "
                f"here {verdict.word}{f' ({here})' if here else ''}"
            )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--engine", action="append", choices=list(DEVICES))
    parser.add_argument("-k", dest="pattern", default="", help="only ids that contain this")
    parser.add_argument("--against", type=Path, help="a JSON report of `hal conformance`")
    parser.add_argument("--json", type=Path, help="write every verdict and reason here")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds a case may take")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]))
        return 0
    report = json.loads(options.against.read_text(encoding="utf-8")) if options.against else None
    case_ids = [i for i in load_cases() if options.pattern in i]
    failed = False
    everything = {}
    for engine in options.engine or list(DEVICES):
        start = time.perf_counter()
        verdicts = run_engine(engine, case_ids, options.timeout)
        everything[engine] = {i: list(v) for i, v in verdicts.items()}
        counts = Counter(v.word for v in verdicts.values())
        passed = counts["pass"]
        print(
            f"{engine}: {passed} of {len(verdicts)} pass ({passed / max(len(verdicts), 1):.1%}), "
            f"{dict(counts)}, {time.perf_counter() - start:.1f} s",
            flush=True,
        )
        if report is not None:
            lines = differences(DEVICES[engine], verdicts, report)
            if lines is None:
                print(f"  the report has no device {DEVICES[engine]}")
                continue
            share = len(lines) / max(len(verdicts), 1)
            failed |= share > TOLERATED
            print(
                f"  HAL differs on {len(lines)} of {len(verdicts)} ({share:.2%})", *lines, sep="\n"
            )
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
