"""How fast torch:cpu is beside onnxruntime's CPU provider, over the same models and threads.

    python benchmarks/torch_latency.py [--models NAME ...] [--mode eager compile] [--threads N]

For each model it prints the median of each engine and its ratio to onnxruntime with the spread of
the rounds, then the geomean and the worst; how long loading takes and how much memory it takes at
most, each measured in a process of its own; and the cost of the executor itself: a 4-element Add
over bound tensors against torch.add. Below 1 is faster than onnxruntime. Everything is timed in
blocks as hal.timing says; a busy machine makes the figures worthless, so the load is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
import timeit
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from torch_models import ARCHITECTURES, LIGHT, BenchmarkModel, load

import hal
from hal.timing import Timing, time_blocks

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
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--probe", nargs=2, metavar=("ENGINE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        return probe(*options.probe, options)
    print(f"{options.threads} threads, load {os.getloadavg()[0]:.1f}, batch {options.batch}")
    rows = []
    for name in options.models:
        try:
            rows.append(measure(name, options))
        except (hal.errors.HalError, ImportError, KeyError, RuntimeError) as error:
            print(f"{name:16} left out: {type(error).__name__}: {str(error)[:200]}", flush=True)
    summary = [summarize(mode, rows) for mode in options.mode]
    overhead = executor_overhead()
    if options.json:
        found = {"models": rows, "summary": summary, "add": overhead, "threads": options.threads}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def engines(model: BenchmarkModel, options: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """A call without arguments for each engine, over inputs that are in place."""
    found: dict[str, Any] = {}
    for name in names:
        found[name] = (
            _onnxruntime(model, options) if name == "ort" else _torch(model, name, options)
        )
    return found


def _onnxruntime(model: BenchmarkModel, options: argparse.Namespace) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(model.path), settings, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, model.inputs)


def _torch(model: BenchmarkModel, mode: str, options: argparse.Namespace) -> Any:
    import hal_torch

    (spec,) = hal_torch.hal_backends()
    import torch

    torch.set_num_threads(options.threads)
    backend = spec.factory()
    device = next(d for d in backend.devices() if d.id == "torch:cpu")
    executable: Any = backend.compile(device, hal.Model.from_path(model.path), {"mode": mode})
    bound = executable.bind(model.inputs)

    def run() -> list[Any]:
        return [o.numpy() for o in bound.run()]

    return run


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row: times, ratios, load and memory of a model."""
    model = load(name, options.batch)
    calls = engines(model, options, ["ort", *options.mode])
    expected = calls["ort"]()
    row: dict[str, Any] = {"model": name}
    for mode in options.mode:
        row[f"{mode}_error"] = max(map(_error, expected, calls[mode]()))
    timings = time_blocks(calls, rounds=options.rounds, calls=options.calls)
    row["ort_ms"] = timings["ort"].median * 1e3
    text = f"{name:16} ort {row['ort_ms']:8.2f} ms"
    for mode in options.mode:
        ratio = _ratio(timings[mode], timings["ort"])
        row |= {f"{mode}_ms": timings[mode].median * 1e3, f"{mode}_ratio": ratio[0]}
        row[f"{mode}_spread"] = ratio[1]
        text += f"   {mode} {row[f'{mode}_ms']:8.2f} ms = {ratio[0]:5.2f}x (spread {ratio[1]:.2f})"
        if row[f"{mode}_error"] > TOLERANCE:
            text += f" WRONG: error {row[f'{mode}_error']:.1e}"
    if not options.no_load:
        row |= load_ratios(name, options)
        text += f"   load {row['load_ratio']:.2f}x   memory {row['memory_ratio']:.2f}x"
    print(text, flush=True)
    return row


def _ratio(own: Timing, other: Timing) -> tuple[float, float]:
    """Median over the rounds of the ratio within a round, and its largest over its smallest."""
    ratios = [a / b for a, b in zip(own.blocks, other.blocks, strict=True)]
    return statistics.median(ratios), max(ratios) / min(ratios)


def _error(expected: Any, got: Any) -> float:
    scale = float(np.linalg.norm(expected.astype(np.float64)))
    return float(np.linalg.norm(got.astype(np.float64) - expected)) / (scale or 1.0)


def load_ratios(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Load time and peak memory in eager mode, over onnxruntime's; each in a fresh process."""
    found = {}
    for engine in ("ort", "eager"):
        command = [sys.executable, __file__, "--probe", engine, name]
        command += ["--threads", str(options.threads), "--batch", str(options.batch)]
        reports = []
        for _ in range(3):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            reports.append(json.loads(done.stdout.splitlines()[-1]))
        found[engine] = {k: statistics.median(r[k] for r in reports) for k in reports[0]}
    ort, torch = found["ort"], found["eager"]
    return {
        "ort_load_ms": ort["load"] * 1e3,
        "load_ratio": torch["load"] / ort["load"],
        "ort_peak_mib": ort["peak"] / 1024,
        "peak_mib": torch["peak"] / 1024,
        "memory_ratio": torch["peak"] / ort["peak"],
    }


def probe(engine: str, name: str, options: argparse.Namespace) -> int:
    """In a fresh process: load a model after the engine is imported, run it once, report."""
    import resource

    model = load(name, options.batch)
    if engine == "ort":
        import onnxruntime  # noqa: F401 (imported before the clock starts)
    else:
        import hal_torch

        hal_torch.hal_backends()[0].factory()
    start = time.perf_counter()
    call = engines(model, options, [engine])[engine]
    seconds = time.perf_counter() - start
    call()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"load": seconds, "peak": peak}))
    return 0


def summarize(mode: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The geomean and the worst of a mode's ratios, printed."""
    ratios = {r["model"]: r[f"{mode}_ratio"] for r in rows}
    if not ratios:
        return {}
    mean = math.exp(statistics.fmean(math.log(r) for r in ratios.values()))
    worst = max(ratios, key=ratios.__getitem__)
    print(
        f"{mode}: geomean {mean:.2f}x over {len(ratios)} models, worst {ratios[worst]:.2f}x {worst}"
    )
    return {"mode": mode, "geomean": mean, "worst": worst, "worst_ratio": ratios[worst]}


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
