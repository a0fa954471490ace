"""What importing HAL loads: no vendor SDK, and for plugins nothing but the library and NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hal

ROOT = Path(hal.__file__).parent
HEAVY = {"onnx", "onnxruntime", "openvino", "torch", "ml_dtypes", "scipy", "google"}
OWN = {"pluggy", "typer", "click", "rich", "psutil", "platformdirs", "packaging"}

# The parts that plugins do not import. Of hal.host they need only what serves them.
NOT_FOR_PLUGINS = (
    "hal.cli",
    "hal.plugins",
    "hal.elsewhere",
    "hal.host",
    "hal.routing",
    "hal.session",
    "hal.split",
    "hal.store",
    "hal.__main__",
)

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("hal", "numpy"):
            raise ModuleNotFoundError(f"blocked: {name}", name=name)
        return None

sys.meta_path.insert(0, Blocker())
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(code: str) -> set[str]:
    report = "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)), file=sys.__stderr__)"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stderr.splitlines()[-1])
    return set(modules)


def modules_for_plugins() -> list[str]:
    names = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not name.startswith(NOT_FOR_PLUGINS):
            names.append(name)
    return [*names, "hal.host._serve"]


def test_import_hal_loads_no_sdk_and_no_dependency_but_numpy() -> None:
    modules = loaded_after("import hal")
    assert "numpy" in modules
    assert not (HEAVY | OWN) & modules
    assert not {m for m in modules if m.startswith(NOT_FOR_PLUGINS)}


def test_what_plugins_import_needs_only_the_library_and_numpy() -> None:
    names = modules_for_plugins()
    assert {"hal", "hal.backend", "hal.paths"} <= set(names)
    code = BLOCKER + "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)"
    run(code, *names)


def test_the_blocker_blocks() -> None:
    with pytest.raises(AssertionError, match="blocked: pluggy"):
        run(BLOCKER + "import pluggy")


def test_loading_plugins_imports_no_sdk() -> None:
    modules = loaded_after("from hal.plugins import load_plugins\nload_plugins()")
    assert "pluggy" in modules
    assert not HEAVY & modules


def test_help_imports_neither_plugins_nor_commands() -> None:
    modules = loaded_after("from hal.cli import main\nassert main(['--help']) == 0")
    assert not (HEAVY | {"pluggy", "psutil"}) & modules
    assert not {m for m in modules if m.startswith("hal.plugins")}
    assert not {m for m in modules if m.startswith("hal_") and not m.startswith("hal_conformance")}
    implementations = {"hal.cli.devices", "hal.cli.doctor", "hal.cli.cache", "hal.cli.plugins"}
    assert not implementations & modules
    assert {m for m in modules if m.startswith("hal_conformance.")} == {"hal_conformance.commands"}
