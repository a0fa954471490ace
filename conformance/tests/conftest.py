"""Fixtures: an environment with the faulty plugin installed, and the hal command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hal.paths import cache_dir

FAULTY = Path(__file__).parent / "faulty"
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

Hal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which the faulty plugin is installed, with data of its own and the suite's
    cache shared."""
    info = tmp_path / "site" / "hal_faulty-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hal-faulty\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[hal]\nfaulty = hal_faulty\n")
    home = tmp_path / "home"
    home.mkdir()
    cache_dir().mkdir(parents=True, exist_ok=True)
    (home / "cache").symlink_to(cache_dir())
    path = os.pathsep.join([str(tmp_path / "site"), str(FAULTY)])
    return {**os.environ, "PYTHONPATH": path, "HAL_HOME": str(home)}


@pytest.fixture
def hal(environment: dict[str, str]) -> Hal:
    """Runs the hal command in that environment."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-m", "hal", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            stdin=subprocess.DEVNULL,
            **options,
        )

    return run
