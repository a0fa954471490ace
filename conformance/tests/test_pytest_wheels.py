"""A vendor's CI: a plugin made from hal-example, in an environment of built wheels alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.env, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def wheel(folder: Path, work: Path, *names: str) -> Path:
    """The wheel of a copy of some parts of a distribution's folder."""
    source = work / folder.name / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", *names):
        path = folder / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.exists():
            shutil.copy(path, source)
    code = f"import setuptools.build_meta as b; print('wheel', b.build_wheel({str(work)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return work / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheels of hal-core, hal-conformance and a plugin, and what they
    need at the checkout's pins."""
    work = tmp_path_factory.mktemp("wheels")
    example = work / "hal-mychip"
    shutil.copytree(ROOT / "plugins" / "hal-example", example)
    (example / "hal_example.py").rename(example / "hal_mychip.py")
    for path in (example / "hal_mychip.py", example / "pyproject.toml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("example", "mychip"), encoding="utf-8")
    wheels = [
        wheel(ROOT, work, "hal"),
        wheel(ROOT / "conformance", work, "hal_conformance"),
        wheel(example, work, "hal_mychip.py"),
    ]
    venv.create(work / "env", with_pip=True)
    python = work / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    conformance = f"hal-conformance[pytest] @ {wheels[1].as_uri()}"
    pins = ["-c", str(ROOT / "requirements.txt")]
    done = subprocess.run(
        [*pip, *pins, str(wheels[0]), conformance, str(wheels[2]), "pytest-xdist"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return python


def test_a_plugin_from_the_example_in_a_clean_environment(python: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
    environment["HAL_HOME"] = str(tmp_path / "home")
    command = [str(python), "-m", "pytest", "--pyargs", "hal_conformance"]
    done = subprocess.run(
        [*command, "--hal-device", "mychip:cpu", "-n", "2", "--strict-markers"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conformance of mychip:cpu" in done.stdout
    assert "2024 cases: 145 pass, 1870 unsupported, 9 disputed" in done.stdout
    assert "145 passed, 1879 skipped" in done.stdout
