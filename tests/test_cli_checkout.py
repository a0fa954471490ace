"""cli.py runs `hal` from a checkout, and says what to do in one that is not set up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hal

SCRIPT = Path(__file__).parents[1] / "cli.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def test_runs_hal() -> None:
    done = run(str(SCRIPT), "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"hal {hal.__version__}\n", "")


def test_passes_on_the_exit_code() -> None:
    assert run(str(SCRIPT), "devicse").returncode == 2


def test_checkout_that_is_not_set_up_is_one_line() -> None:
    done = run("-S", str(SCRIPT), "devices")  # -S: without what is installed
    assert done.returncode == 5
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "; next: " in line
    assert "make setup" in line or ".venv" in line
