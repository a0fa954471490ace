"""The plugins of this checkout come in by the same door as anyone's, and all load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hal.plugins import State, load_plugins

FOLDERS = sorted(Path(__file__).parents[1].glob("plugins/*/pyproject.toml"))


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.parent.name)
def test_bundled_plugin_is_installed_and_loads(path: Path) -> None:
    entry = re.search(
        r'^\[project\.entry-points\.hal\]\n(\w+) = "(\w+)"', path.read_text(encoding="utf-8"), re.M
    )
    assert entry is not None
    name, module = entry.groups()
    status = next(p for p in load_plugins().plugins if p.name == name)
    assert (status.state, status.reason) == (State.READY, "")
    assert status.module == module
    assert status.distribution == path.parent.name


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.parent.name)
def test_no_name_of_a_plugin_is_taken_by_its_submodules(path: Path) -> None:
    """Importing `package._x` sets `package._x`: a function of that name would be gone once the
    backend has been opened, and the plugin broken from then on."""
    source = path.parent / path.parent.name.replace("-", "_") / "__init__.py"
    if not source.is_file():
        pytest.skip("a plugin of one module")
    defined = set(re.findall(r"^(?:def|class) (\w+)", source.read_text(encoding="utf-8"), re.M))
    assert not defined & {p.stem for p in source.parent.iterdir()}
