"""Whether the same command gives the same verdicts twice, and on a machine that is busy.

    python benchmarks/same_verdicts.py --device ort:cpu                 the whole suite contract
    python benchmarks/same_verdicts.py --device ort:cpu -k contract/Gather-13 --load 8

Runs `hal conformance` on each device three times: twice as the machine is, then beside --load
processes that compute and write memory without a pause. Outcomes are compared case by case, by the
documented names of the JSON report. Exits 1 where one differs, with the case and its outcomes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

RUNS = ("first", "second", "under load")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", action="append", required=True, metavar="ID")
    parser.add_argument("--suite", default="contract")
    parser.add_argument("-k", dest="patterns", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--load", type=int, default=8, help="busy processes in the third run")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    differing = 0
    for device in arguments.device:
        command = [sys.executable, "-m", "hal", "conformance", "-d", device]
        command += ["--suite", arguments.suite, "-j", str(arguments.jobs)]
        command += [word for pattern in arguments.patterns for word in ("-k", pattern)]
        found = []
        for run in RUNS:
            with busy(arguments.load if run == "under load" else 0):
                outcomes, seconds = verdicts(command)
            found.append(outcomes)
            words = ", ".join(f"{n} {word}" for word, n in Counter(outcomes.values()).most_common())
            print(f"{device}  {run:10}  {seconds:6.1f} s  {words}", flush=True)
        cases = sorted({case for outcomes in found for case in outcomes})
        rows = [(case, [outcomes.get(case, "none") for outcomes in found]) for case in cases]
        changed = [(case, words) for case, words in rows if len(set(words)) > 1]
        for case, words in changed:
            print(f"  {case}: {', '.join(words)}")
        print(f"{device}: {len(changed)} of {len(cases)} cases differ between the three runs")
        differing += len(changed)
    return 1 if differing else 0


def verdicts(command: Sequence[str]) -> tuple[dict[str, str], float]:
    """The outcome of every case, and how long the run took."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        begun = time.monotonic()
        done = subprocess.run(
            [*command, "--json", str(report)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(
                f"{' '.join(command)} exited {done.returncode}:\n{done.stderr[-2000:]}"
            )
        (found,) = json.loads(report.read_text(encoding="utf-8"))["reports"]
        return {c["id"]: c["outcome"] for c in found["cases"]}, time.monotonic() - begun


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes beside this one, each as fast as it can."""
    spawned = multiprocessing.get_context("spawn")
    others = [spawned.Process(target=work, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def work() -> None:
    """Computes in a matrix of 8 MB, and writes 64 MB, for ever."""
    matrix = np.random.default_rng(0).random((1024, 1024))
    memory = np.zeros(1 << 23)
    while True:
        matrix = matrix @ matrix
        matrix /= np.abs(matrix).max()
        memory += 1


if __name__ == "__main__":
    sys.exit(main())
