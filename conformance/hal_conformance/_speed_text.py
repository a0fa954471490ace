"""Seconds, rates and shares as people read them."""

from __future__ import annotations

__all__ = ["amount", "percent", "ratio", "seconds"]

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def seconds(value: float | None) -> str:
    """ "1.23 ms"; "" for None."""
    if value is None:
        return ""
    scale, unit = next((s for s in _SCALES if value >= s[0]), _SCALES[-1])
    return f"{_three(value / scale)} {unit}"


def amount(value: float | None, unit: str) -> str:
    """ "123 GB/s"; "" for None."""
    if value is None:
        return ""
    scale, prefix = next((p for p in _PREFIXES if value >= p[0]), (1.0, ""))
    return f"{_three(value / scale)} {prefix}{unit}".rstrip()


def percent(value: float | None) -> str:
    """ "42 %"; "" for None. Over 1.5 nothing was moved: the output may be a view."""
    if value is None:
        return ""
    if value > 1.5:
        return "> 150 %"
    return f"{100 * value:.0f} %" if value >= 0.095 else f"{100 * value:.1f} %"


def ratio(value: float | None) -> str:
    """ "1.25 ×"; "" for None."""
    return "" if value is None else f"{_three(value)} ×"


def _three(value: float) -> str:
    """Three digits."""
    if value < 0.095:
        return f"{value:.2g}"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"
