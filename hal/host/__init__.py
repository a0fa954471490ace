"""A backend behind a command that speaks HAL's protocol on its standard input and output.

`Host` is the parent's side; `python -m hal.host --plugin MODULE --backend NAME` is the other side,
which needs only NumPy, `hal` and the plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hal.host._executable import HostedExecutable
    from hal.host._host import Host

__all__ = ["Host", "HostedExecutable"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the other side imports this package too and has no psutil.
    if name in __all__:
        from hal.host import _executable, _host

        return getattr(_host if name == "Host" else _executable, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
