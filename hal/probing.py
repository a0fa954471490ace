"""Asking a driver in a process of its own: one that crashes or hangs costs its answer alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

__all__ = ["ask"]


def ask(command: Sequence[str], *, seconds: float = 20.0) -> tuple[Any, str]:
    """What a command prints as JSON on its last line and "", or None and why there is no answer.

    A command that ends with an exit code other than 0 says why on its last line of standard output
    or, when it prints nothing there, of standard error. It is given `seconds`.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer in {seconds:g} s"
    if done.returncode < 0:
        return None, f"its driver ended the process with signal {-done.returncode}"
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
    if done.returncode:
        return None, last[0] if last else f"it ended with exit code {done.returncode}"
    try:
        return json.loads(last[0] if last else ""), ""
    except ValueError:
        return None, f"it gave no answer but {last[0][:80]!r}" if last else "it gave no answer"
