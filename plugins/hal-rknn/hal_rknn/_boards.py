"""Boards that adb reaches. Written to adb's documented output; not tried on hardware yet."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Collection

__all__ = ["Board", "find_boards"]

_SECONDS = 5.0
_CHIP = re.compile(r"rockchip,((?:rk|rv)\w+)")


@dataclasses.dataclass(frozen=True)
class Board:
    """A board: adb's serial number, and its chip, e.g. "rk3588"."""

    serial: str
    chip: str


def find_boards(chips: Collection[str]) -> list[Board]:
    """The boards attached, with one of `chips`; none where adb is not installed."""
    adb = shutil.which("adb")
    if adb is None:
        return []
    boards = []
    for line in _said([adb, "devices"]).splitlines()[1:]:
        serial, _, state = line.partition("\t")
        if state.strip() != "device":
            continue  # offline, or not authorized
        tree = _said([adb, "-s", serial, "shell", "cat", "/proc/device-tree/compatible"])
        known = [chip for chip in _CHIP.findall(tree) if chip in chips]
        if known:
            boards.append(Board(serial, known[0]))
    return boards


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
