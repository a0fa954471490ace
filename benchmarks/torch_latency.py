"""How fast torch:cpu is beside onnxruntime's CPU provider, over the same models and threads.

    python benchmarks/torch_latency.py [--models NAME ...] [--mode eager compile] [--threads N]

For each model it prints the median of each engine and its ratio to onnxruntime with the spread of
the rounds, then the geomean and the worst; how long loading takes (eager mode, the engine imported
before) and how much memory the process holds at most after a run, whole and above what the engine's
import takes, each measured in fresh processes; and the cost of the executor itself: a 4-element Add
over bound tensors against torch.add. Below 1 is better than onnxruntime. Latency is timed in blocks
as hal.timing says; a busy machine makes the figures worthless, so the load is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from torch_models import ARCHITECTURES, LIGHT, BenchmarkModel, load
from torch_probe import engine

import hal
from hal.timing import Timing, time_blocks

PROBE = Path(__file__).with_name("torch_probe.py")
MODES = ("eager", "compile")
TOLERANCE = 2e-3
"""Relative L2 error to onnxruntime above which a figure is not printed: float32 in another order of
summation through a hundred random layers stays below it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="*", default=[*LIGHT, *ARCHITECTURES])
    parser.add_argument("--mode", nargs="*", choices=MODES, default=list(MODES))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--no-load", action="store_true", help="leave out load time and memory")
    parser.add_argument("--only-load", action="store_true", help="load time and memory alone")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    print(f"{options.threads} threads, load {os.getloadavg()[0]:.1f}, batch {options.batch}")
    rows = []
    for name in options.models:
        try:
            rows.append(measure(name, options))
        except (hal.errors.HalError, ImportError, KeyError, RuntimeError) as error:
            print(f"{name:16} left out: {type(error).__name__}: {str(error)[:200]}", flush=True)
    kinds = [] if options.only_load else [f"{mode}_ratio" for mode in options.mode]
    kinds += [] if options.no_load else ["load_ratio", "memory_ratio", "growth_ratio"]
    summary = [summarize(kind, rows) for kind in kinds]
    print_imports(rows)
    overhead = {} if options.only_load else executor_overhead()
    if options.json:
        found = {"models": rows, "summary": summary, "add": overhead, "threads": options.threads}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row: times, ratios, load and memory of a model."""
    model = load(name, options.batch)
    row: dict[str, Any] = {"model": name}
    text = f"{name:16}"
    if not options.only_load:
        text += latency(model, row, options)
    if not options.no_load:
        row |= load_and_memory(model, options.threads)
        text += f"   load {row['load_ratio']:.2f}x of {row['ort_load_ms']:.0f} ms   memory "
        text += f"{row['memory_ratio']:.2f}x of {row['ort_peak_mib']:.0f} MiB"
        text += f", above the import {row['growth_ratio']:.2f}x of {row['ort_growth_mib']:.0f} MiB"
        text += f" (import: {row['import_mib']:.0f} of {row['peak_mib']:.0f} MiB, onnxruntime's "
        text += f"{row['ort_import_mib']:.0f} of {row['ort_peak_mib']:.0f})"
    print(text, flush=True)
    return row


def latency(model: BenchmarkModel, row: dict[str, Any], options: argparse.Namespace) -> str:
    """Add the times and their ratios to a model's row; gives the text of them."""
    calls = {
        name: engine(name, model.path, model.inputs, options.threads)
        for name in ("ort", *options.mode)
    }
    expected = calls["ort"]()
    for mode in options.mode:
        row[f"{mode}_error"] = max(map(_error, expected, calls[mode]()))
    timings = time_blocks(calls, rounds=options.rounds, calls=options.calls)
    row["ort_ms"] = timings["ort"].median * 1e3
    text = f" ort {row['ort_ms']:8.2f} ms"
    for mode in options.mode:
        ratio = _ratio(timings[mode], timings["ort"])
        row |= {f"{mode}_ms": timings[mode].median * 1e3, f"{mode}_ratio": ratio[0]}
        row[f"{mode}_spread"] = ratio[1]
        text += f"   {mode} {row[f'{mode}_ms']:8.2f} ms = {ratio[0]:5.2f}x (spread {ratio[1]:.2f})"
        if row[f"{mode}_error"] > TOLERANCE:
            text += f" WRONG: error {row[f'{mode}_error']:.1e}"
    return text


def _ratio(own: Timing, other: Timing) -> tuple[float, float]:
    """Median over the rounds of the ratio within a round, and its largest over its smallest."""
    ratios = [a / b for a, b in zip(own.blocks, other.blocks, strict=True)]
    return statistics.median(ratios), max(ratios) / min(ratios)


def _error(expected: Any, got: Any) -> float:
    scale = float(np.linalg.norm(expected.astype(np.float64)))
    return float(np.linalg.norm(got.astype(np.float64) - expected)) / (scale or 1.0)


def load_and_memory(model: BenchmarkModel, threads: int) -> dict[str, float]:
    """Load time and peak memory in eager mode, and their ratios to onnxruntime's; the median of
    three fresh processes each, in turn."""
    reports: dict[str, list[dict[str, float]]] = {"ort": [], "eager": []}
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **model.inputs)  # type: ignore[arg-type]  # an input named "file" is none
        for _ in range(3):
            for name, found in reports.items():
                command = [sys.executable, str(PROBE), name, str(model.path), str(inputs)]
                command += [str(threads)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
    ort, own = (
        {k: statistics.median(r[k] for r in found) for k in found[0]} for found in reports.values()
    )
    return {
        "ort_load_ms": ort["load"] * 1e3,
        "load_ms": own["load"] * 1e3,
        "load_ratio": own["load"] / ort["load"],
        "ort_peak_mib": ort["peak"],
        "peak_mib": own["peak"],
        "memory_ratio": own["peak"] / ort["peak"],
        "ort_import_mib": ort["imported"],
        "import_mib": own["imported"],
        "ort_growth_mib": ort["peak"] - ort["imported"],
        "growth_mib": own["peak"] - own["imported"],
        "growth_ratio": (own["peak"] - own["imported"]) / (ort["peak"] - ort["imported"]),
    }


def summarize(kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The geomean and the worst of a kind of ratio, printed."""
    ratios = {r["model"]: r[kind] for r in rows if r.get(kind, 0) > 0}
    if not ratios:
        return {}
    mean = math.exp(statistics.fmean(math.log(r) for r in ratios.values()))
    worst = max(ratios, key=ratios.__getitem__)
    print(
        f"{kind}: geomean {mean:.2f}x over {len(ratios)} models, worst {ratios[worst]:.2f}x {worst}"
    )
    return {"kind": kind, "geomean": mean, "worst": worst, "worst_ratio": ratios[worst]}


def print_imports(rows: list[dict[str, Any]]) -> None:
    """What the imports take of the whole process, median over the models."""
    measured = [r for r in rows if "import_mib" in r]
    for name, key in (("torch:cpu", ""), ("onnxruntime", "ort_")) if measured else ():
        taken = statistics.median(r[f"{key}import_mib"] for r in measured)
        share = statistics.median(r[f"{key}import_mib"] / r[f"{key}peak_mib"] for r in measured)
        print(f"import of {name}: {taken:.0f} MiB, {share:.0%} of the process's peak")


def executor_overhead() -> dict[str, float]:
    """Microseconds of an Add of four elements: torch.add, and a bound executable of one Add."""
    import hal_torch
    import torch

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "y"], ["z"], name="add")],
        "add",
        [info(n, TensorProto.FLOAT, [4]) for n in "xy"],
        [info("z", TensorProto.FLOAT, [4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    backend = hal_torch.hal_backends()[0].factory()
    executable: Any = backend.compile(
        backend.devices()[0], hal.Model(model.SerializeToString()), {}
    )
    x, y = torch.ones(4), torch.ones(4)
    bound = executable.bind({"x": x, "y": y})
    calls = {"torch.add": lambda: torch.add(x, y), "bound": bound.run}
    best = {
        n: min(timeit.repeat(c, number=20_000, repeat=9)) / 20_000 * 1e6 for n, c in calls.items()
    }
    more = best["bound"] - best["torch.add"]
    print(
        f"Add of 4 elements: torch.add {best['torch.add']:.2f} µs, bound executable "
        f"{best['bound']:.2f} µs, {more:.2f} µs more"
    )
    return best


if __name__ == "__main__":
    sys.exit(main())
