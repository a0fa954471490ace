"""How fast `hal conformance` is beside ONNX's own test runner, on the same engine and cases.

    python benchmarks/conformance_speed.py [--rounds N]

HAL runs `hal conformance --device ort:cpu --suite onnx` with its hosts and its warm cache of cases;
ONNX runs a unittest program over onnxruntime.backend. Both are timed as whole processes, in turn
and in random order, and the ratio of their times in each round is printed with its spread. ONNX's
program runs the same four kinds of cases, not the nine "real" models that HAL's suite leaves out.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ONNX_PROGRAM = """
import unittest, onnx.backend.test, onnxruntime.backend
tests = onnx.backend.test.BackendTest(onnxruntime.backend, __name__)
tests.exclude("_cuda$")
cases = tests.test_cases
cases.pop("OnnxBackendRealModelTest", None)
globals().update(cases)
unittest.main(verbosity=0)
"""
IDLE = 0.5
"""Seconds between two programs, so that one's threads do not disturb the other."""


def commands(folder: Path) -> dict[str, list[str]]:
    program = folder / "onnx_runner.py"
    program.write_text(ONNX_PROGRAM, encoding="utf-8")
    hal = [sys.executable, "-c", "from hal.cli import main; main()", "conformance"]
    return {
        "hal": [*hal, "--device", "ort:cpu", "--suite", "onnx"],
        "onnx": [sys.executable, str(program)],
    }


def seconds(name: str, command: list[str], folder: Path) -> float:
    time.sleep(IDLE)
    with (folder / f"{name}.log").open("wb") as log:
        start = time.perf_counter()
        code = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT).returncode
        taken = time.perf_counter() - start
    # unittest ends with 1 because onnxruntime fails some cases; a complete run of HAL's with 0.
    if code not in ((0, 1) if name == "onnx" else (0,)):
        tail = (folder / f"{name}.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{name} ended with code {code}:\n{tail}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error("at least three rounds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        todo = commands(folder)
        for program, command in todo.items():
            print(f"{program}: {seconds(program, command, folder):.2f} s (warm-up, not counted)")
        times: dict[str, list[float]] = {program: [] for program in todo}
        for number in range(options.rounds):
            for program in random.sample(list(todo), len(todo)):
                times[program].append(seconds(program, todo[program], folder))
            last = ", ".join(f"{p} {t[-1]:.2f} s" for p, t in times.items())
            print(f"round {number + 1}: {last}", flush=True)
        for program in todo:
            log = (folder / f"{program}.log").read_text(errors="replace").strip()
            print(f"{program} says: {log.splitlines()[-1] if log else '(nothing)'}")
    ratios = [onnx / hal for onnx, hal in zip(times["onnx"], times["hal"], strict=True)]
    for program, taken in times.items():
        print(f"{program}: median {statistics.median(taken):.2f} s")
    print(
        f"HAL is {statistics.median(ratios):.2f} times as fast "
        f"(median of {options.rounds} rounds, {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
