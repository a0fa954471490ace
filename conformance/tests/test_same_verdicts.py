"""The same command gives the same verdicts twice, and beside busy processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "same_verdicts.py"
# Right, wrong and refused; judged by statistics; a process that dies.
PATTERNS = ("contract/Gather-13/string", "contract/RandomNormal-22", "contract/GRU-22/float-")


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.exists(), reason="benchmarks are in a checkout only")
def test_two_runs_and_one_under_load():
    command = [sys.executable, str(SCRIPT), "--device", "ort:cpu", "--load", "2"]
    command += [word for pattern in PATTERNS for word in ("-k", pattern)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if "under load" in line]
    assert "pass" in lines[0]
    assert "crash" in lines[0]
    assert "0 of " in done.stdout
