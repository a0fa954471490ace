"""What the kernel tells of a process's memory."""

from __future__ import annotations

from pathlib import Path

__all__ = ["forget_peak", "resident"]


def resident(pid: int | None, field: str) -> int:
    """Bytes of a process by that field of /proc: VmRSS now, VmHWM at most; 0 where there is
    none."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    return 0


def forget_peak(pid: int | None) -> bool:
    """Let a process's VmHWM count from now on; whether that can be had."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")
    except OSError:
        return False
    return True
