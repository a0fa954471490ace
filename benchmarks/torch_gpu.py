"""What an NVIDIA GPU does under torch:cuda:0: right answers, and how near it comes to its limits.

    python benchmarks/torch_gpu.py [--models NAME ...] [--output FILE]

In one run: the official ONNX cases (hal conformance), the card's measured ceilings of matrix
products and of copies, and each model's time in HAL (eager and compile, inputs bound on the device)
beside native PyTorch (eager and torch.compile) on the same exported model, with the share of the
matmul ceiling that HAL's time amounts to. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hal_torch
import torch
from hal_conformance.models.architectures import ARCHITECTURES
from torch.utils._pytree import tree_structure, tree_unflatten
from torch.utils.flop_counter import FlopCounterMode
from torch_models import load

import hal
from hal.timing import time_blocks

DEVICE = "torch:cuda:0"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--output", type=Path, help="write the report there as JSON")
    options = parser.parse_args()
    backend: Any = hal_torch.hal_backends()[0].factory()
    device = next((d for d in backend.devices() if d.id == DEVICE), None)
    if device is None:
        other = next((d for d in backend.devices() if d.id == "torch:cuda"), None)
        reason = other.unavailable if other is not None else "this torch is built without CUDA"
        print(f"no GPU here, nothing is measured: {reason} (torch {torch.__version__})")
        return 0
    report: dict[str, Any] = {
        "device": device.name,
        "vendor": device.vendor,
        "memory": device.memory,
        "versions": dict(device.versions),
        "batch": options.batch,
        "conformance": conformance(),
        "ceilings": ceilings(),
    }
    print(json.dumps(report, indent=1))
    report["models"] = [
        measure(backend, device, name, options.batch, report["ceilings"]) for name in options.models
    ]
    if options.output:
        options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def conformance() -> dict[str, Any]:
    """The outcomes of the official cases, by `hal conformance`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "hal", "conformance", "-d", DEVICE, "--json", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (found,) = json.loads(path.read_text(encoding="utf-8"))["reports"]
    return dict(found["outcomes"])


def synced(call: Callable[[], object]) -> Callable[[], None]:
    """The call, waited for."""

    def run() -> None:
        call()
        torch.cuda.synchronize()

    return run


def ceilings() -> dict[str, float]:
    """FLOP/s of a square matrix product by type, and bytes/s of a copy, reads and writes both."""
    size, calls = 8192, {}
    for name, dtype in DTYPES.items():
        a = torch.randn(size, size, device="cuda", dtype=dtype)
        calls[name] = synced(lambda a=a: a @ a)
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    calls["copy"] = synced(lambda: target.copy_(source))
    times = {name: timing.median for name, timing in time_blocks(calls, calls=10).items()}
    found = {f"{name}_flops": 2 * size**3 / times[name] for name in DTYPES}
    return {**found, "copy_bytes": 2 * source.nbytes / times["copy"]}


def measure(
    backend: Any, device: hal.Device, name: str, batch: int, limits: dict[str, float]
) -> dict[str, Any]:
    """HAL's and native PyTorch's time of one model, in one run."""
    model = load(name, batch)
    inputs = {n: torch.from_numpy(x).to("cuda") for n, x in model.inputs.items()}
    calls: dict[str, Callable[[], None]] = {}
    for mode in ("eager", "compile"):
        source = hal.Model.from_path(model.path)
        calls[f"hal-{mode}"] = synced(
            backend.compile(device, source, {"mode": mode}).bind(inputs).run
        )
    module, example, _ = ARCHITECTURES[name]()
    module = module.eval().to("cuda")
    # The exported inputs are the leaves of the arguments, in their order: a cache is several.
    keywords = tree_unflatten(list(inputs.values()), tree_structure(example))
    compiled = torch.compile(module)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            module(**keywords)
        calls["torch-eager"] = synced(lambda: module(**keywords))
        calls["torch-compile"] = synced(lambda: compiled(**keywords))
        timings = time_blocks(calls)
    row: dict[str, Any] = {"model": name, "flop": counter.get_total_flops()}
    for engine, timing in timings.items():
        share = row["flop"] / timing.median / limits["float32_flops"]
        row[engine] = {"ms": timing.median * 1e3, "spread": timing.spread, "of_matmul": share}
    text = "   ".join(
        f"{e} {row[e]['ms']:.2f} ms ({row[e]['of_matmul']:.1%} of the matmul ceiling)"
        for e in timings
    )
    print(f"{name:14} {text}", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
