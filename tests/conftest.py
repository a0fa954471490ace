"""Fixtures of the core's tests."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure.
settings.register_profile("hal", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hal")

sys.path.insert(0, str(Path(__file__).parent / "helpers"))


class FakeSite:
    """A folder of made-up installed distributions, seen by this process and its children."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.modules: list[str] = []

    def add(
        self,
        distribution: str,
        source: str = "",
        *,
        version: str = "1.0",
        group: str = "hal",
        entry: str = "",
        requires: Sequence[str] = (),
        files: Sequence[str] = (),
        record: bool = True,
    ) -> str:
        """Install `source` as the one module of `distribution`; returns the module's name.

        `entry` replaces the value of the entry point, whose name is the distribution's last word.
        """
        module = distribution.replace("-", "_")
        info = self.path / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (self.path / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        lines = [f"Name: {distribution}", f"Version: {version}", "Metadata-Version: 2.1"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if group:
            name = distribution.rpartition("-")[2]
            text = f"[{group}]\n{name} = {entry or module}\n"
            (info / "entry_points.txt").write_text(text, encoding="utf-8")
        if record:
            listed = [f"{module}.py", f"{info.name}/METADATA", *files]
            (info / "RECORD").write_text("".join(f"{f},,\n" for f in listed), encoding="utf-8")
        self.modules.append(module)
        importlib.invalidate_caches()
        return module


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSite]:
    """Made-up distributions, and a HAL_HOME of the test's own."""
    fake = FakeSite(tmp_path / "site")
    fake.path.mkdir()
    monkeypatch.syspath_prepend(str(fake.path))
    older = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(fake.path), older])))
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "home"))
    yield fake
    for module in fake.modules:
        loaded = getattr(sys.modules.get(module), "__file__", None)
        if loaded and Path(loaded).is_relative_to(fake.path):
            del sys.modules[module]
