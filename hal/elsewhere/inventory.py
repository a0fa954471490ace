"""What a machine has to offer: `python -m hal.elsewhere.inventory`, asked by `hal remote add`."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any

from hal import __version__
from hal.host._wire import PROTOCOL

__all__ = ["MARK", "inventory"]

MARK = "HAL-INVENTORY "
"""What the answer's line begins with; before it, login shells greet and plugins print."""


def inventory() -> dict[str, Any]:
    """The versions here, and the backends that plugins provide here. None of them is started."""
    from hal.plugins import load_plugins

    with load_plugins() as registry:
        backends = [b for b in registry.backends.values() if not b.remote]
    return {
        "hal": __version__,
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "backends": [
            {
                "name": b.name,
                "module": b.module,
                "distribution": b.distribution,
                "version": b.version,
                "summary": b.spec.summary,
                "abilities": sorted(a.value for a in b.spec.abilities),
                "conformance_options": _plain(b.spec.conformance_options),
                "command": list(b.command),
            }
            for b in backends
        ],
    }


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k): v for k, v in options.items() if isinstance(v, (str, int, float, bool))}


if __name__ == "__main__":
    print(MARK + json.dumps(inventory()), flush=True)
