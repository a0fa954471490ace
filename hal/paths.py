"""Where HAL keeps its files: caches that can be made again, and data that cannot."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir", "data_dir"]


def cache_dir() -> Path:
    """The folder of what can be made again: `$HAL_HOME/cache`, or the platform's user cache folder.

    The folder need not exist yet; whoever writes creates it.
    """
    home = _home()
    if home is not None:
        return home / "cache"
    import platformdirs  # here, so that a plugin's own environment does without it

    return platformdirs.user_cache_path("hal", appauthor=False)


def data_dir() -> Path:
    """The folder of results and routes: `$HAL_HOME/data`, or the platform's user data folder.

    The folder need not exist yet; whoever writes creates it.
    """
    home = _home()
    if home is not None:
        return home / "data"
    import platformdirs

    return platformdirs.user_data_path("hal", appauthor=False)


def _home() -> Path | None:
    value = os.environ.get("HAL_HOME", "")
    return Path(value).expanduser().absolute() if value else None
