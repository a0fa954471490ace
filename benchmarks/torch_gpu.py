"""What an NVIDIA GPU does under torch:cuda:0: right answers, and how near it comes to its limits.

    python benchmarks/torch_gpu.py [--models NAME ...] [--precision NAME ...] [--output FILE]

In one run: the official ONNX cases and PyTorch's own operators (`hal conformance`), the card's
measured ceilings of matrix products and of copies, and for each model its error against torch:cpu,
and HAL's time (eager and compile, inputs bound on the device) beside that of native PyTorch (eager
and torch.compile) on the module that the model was exported from, in the same precision, with the
share of the matmul ceiling that each time amounts to. A model that fails is reported with its
error, and the rest goes on; the report is written after each model. Without a GPU it says so and
measures nothing. `--device torch:cpu` tries the program itself; its figures are not a GPU's.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hal_torch
import numpy as np
import torch
from hal_conformance.models.architectures import ARCHITECTURES
from hal_torch._compat import cuda_float32
from torch.utils._pytree import tree_leaves, tree_structure, tree_unflatten
from torch.utils.flop_counter import FlopCounterMode
from torch_models import load

import hal
from hal.timing import time_blocks

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SUITES = ("onnx", "torch")
REPORTS = Path(__file__).resolve().parent.parent / "reports"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="torch:cuda:0")
    parser.add_argument("--models", nargs="*", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--precision", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--suites", nargs="*", choices=SUITES, default=list(SUITES))
    parser.add_argument("--output", type=Path, help="default: reports/, named after the card")
    options = parser.parse_args()
    backend: Any = hal_torch.hal_backends()[0].factory()
    devices = {d.id: d for d in backend.devices()}
    device = devices.get(options.device)
    if device is None or device.unavailable:
        family = device or devices.get(options.device.rpartition(":")[0])
        reason = family.unavailable if family is not None else "this torch has no such device"
        print(
            f"no {options.device} here, nothing is measured: {reason} (torch {torch.__version__})"
        )
        return 0
    name = re.sub(r"\W+", "-", device.name or device.id).strip("-").lower()
    output = options.output or REPORTS / f"torch-{name}.json"
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "device": device.id,
        "name": device.name,
        "vendor": device.vendor,
        "memory": device.memory,
        "versions": {**device.versions, **versions()},
        "batch": options.batch,
        "conformance": {suite: conformance(device.id, suite) for suite in options.suites},
        "ceilings": ceilings(torch.device(device.id.partition(":")[2])),
        "models": [],
    }
    print(json.dumps(report, indent=1), flush=True)
    for model in options.models:
        for precision in options.precision:
            row = attempt(backend, device, model, precision, options.batch, report["ceilings"])
            report["models"].append(row)
            save(report, output)
    save(report, output)
    failed = [f"{r['model']} ({r['precision']})" for r in report["models"] if "error" in r]
    print(f"written: {output}", *[f"; failed: {', '.join(failed)}"] * bool(failed), sep="")
    return 1 if failed else 0


def save(report: dict[str, Any], output: Path) -> None:
    """Write what there is so far."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Of the packages that the figures depend on."""
    found = {}
    for package in ("hal-core", "hal-torch", "onnx", "transformers", "triton"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def conformance(device: str, suite: str) -> dict[str, Any]:
    """A suite's outcomes, by `hal conformance`; what it said last, if it gave no report."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "hal", "conformance", "-d", device]
        command += ["--suite", suite, "--json", str(path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if not path.exists():
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing"]
            return {"error": f"exit code {done.returncode}: {said[0]}"}
        (found,) = json.loads(path.read_text(encoding="utf-8"))["reports"]
    return {"exit_code": done.returncode, "outcomes": found["outcomes"]}


def synced(call: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """The call, waited for."""
    wait = None if device.type == "cpu" else torch.get_device_module(device).synchronize

    def run() -> None:
        call()
        if wait is not None:
            wait()

    return run


def ceilings(device: torch.device) -> dict[str, float]:
    """FLOP/s of a square matrix product by type, and bytes/s of a copy, reads and writes both."""
    size, octets = (1024, 1 << 26) if device.type == "cpu" else (8192, 1 << 30)
    calls = {}
    with torch.inference_mode(), float32(device):
        for name, dtype in DTYPES.items():
            a = torch.randn(size, size, device=device, dtype=dtype)
            calls[name] = synced(lambda a=a: a @ a, device)
        source = torch.empty(octets, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        calls["copy"] = synced(lambda: target.copy_(source), device)
        times = {name: timing.median for name, timing in time_blocks(calls, calls=10).items()}
    found = {f"{name}_flops": 2 * size**3 / times[name] for name in DTYPES}
    return {**found, "copy_bytes": 2 * octets / times["copy"]}


def float32(device: torch.device) -> Any:
    """Float32 that means it, as HAL's does: cuDNN's default is TF32."""
    return cuda_float32("ieee") if device.type == "cuda" else contextlib.nullcontext()


def attempt(
    backend: Any, device: hal.Device, name: str, precision: str, batch: int, limits: dict[str, Any]
) -> dict[str, Any]:
    """A model's row; its error, if it has one: one model must not cost the others."""
    row: dict[str, Any] = {"model": name, "precision": precision}
    try:
        row |= measure(backend, device, name, precision, batch, limits)
    except Exception as error:  # noqa: BLE001 (whatever a driver, a compiler or a model raises)
        row["error"] = f"{type(error).__name__}: {error}".partition("\n")[0]
        print(f"{name:14} {precision:9} failed: {row['error']}", flush=True)
    return row


def measure(
    backend: Any, device: hal.Device, name: str, precision: str, batch: int, limits: dict[str, Any]
) -> dict[str, Any]:
    """HAL's and native PyTorch's time of one model, in one run, and HAL's error to torch:cpu."""
    own = torch.device(device.id.partition(":")[2])
    model = load(name, batch)
    source = hal.Model.from_path(model.path)
    cpu = next(d for d in backend.devices() if d.id == "torch:cpu")
    expected = backend.compile(cpu, source, {}).bind(model.inputs).run()
    inputs = {n: torch.from_numpy(x).to(own) for n, x in model.inputs.items()}
    calls: dict[str, Callable[[], None]] = {}
    errors = {}
    for mode in ("eager", "compile"):
        bound = backend.compile(device, source, {"mode": mode, "precision": precision}).bind(inputs)
        errors[f"hal-{mode}"] = max(map(relative, expected, bound.run()))
        calls[f"hal-{mode}"] = synced(bound.run, own)
    module, example, _ = ARCHITECTURES[name]()
    module = module.eval().to(own)
    # The exported inputs are the leaves of the arguments, in their order: a cache is several.
    leaves = list(inputs.values())
    if len(leaves) != len(tree_leaves(example)):
        raise ValueError(f"{len(leaves)} inputs for {len(tree_leaves(example))} arguments")
    keywords = tree_unflatten(leaves, tree_structure(example))
    compiled = torch.compile(module)
    lower = torch.autocast(own.type, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), float32(own), lower:
        with FlopCounterMode(display=False) as counter:
            module(**keywords)
        calls["torch-eager"] = synced(lambda: module(**keywords), own)
        calls["torch-compile"] = synced(lambda: compiled(**keywords), own)
        timings = time_blocks(calls)
    row: dict[str, Any] = {"flop": counter.get_total_flops(), "relative_error": errors}
    text = f"{name:14} {precision:9}"
    for engine, timing in timings.items():
        share = row["flop"] / timing.median / limits[f"{precision}_flops"]
        row[engine] = {"ms": timing.median * 1e3, "spread": timing.spread, "of_matmul": share}
        text += f"   {engine} {row[engine]['ms']:.2f} ms ({share:.1%})"
    print(f"{text}   of the matmul ceiling; errors {errors}", flush=True)
    return row


def relative(expected: torch.Tensor, got: torch.Tensor) -> float:
    """Relative L2 error."""
    want = np.asarray(expected, np.float64)
    difference = np.asarray(got.cpu(), np.float64) - want
    return float(np.linalg.norm(difference)) / (float(np.linalg.norm(want)) or 1.0)


if __name__ == "__main__":
    sys.exit(main())
