"""What an installation holds: the import names, the command, typed packages, and wheels."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT, ROOT / "conformance", *sorted(p.parent for p in ROOT.glob("plugins/*/*.toml"))]
DISTRIBUTIONS = [folder for folder in FOLDERS if (folder / "pyproject.toml").is_file()]


def load(folder: Path) -> dict[str, Any]:
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    document: dict[str, Any] = toml.loads((folder / "pyproject.toml").read_text("utf-8"))
    return document


def import_name(folder: Path) -> str:
    """The one top-level name that a distribution brings."""
    setuptools = load(folder)["tool"]["setuptools"]
    if "py-modules" in setuptools:
        (name,) = setuptools["py-modules"]
    elif isinstance(setuptools["packages"], dict):
        name = setuptools["packages"]["find"]["include"][0]
    else:
        name = setuptools["packages"][0]
    return str(name).partition(".")[0]


def source_files(folder: Path) -> set[str]:
    """Every file of a distribution's package, relative to its folder."""
    name = import_name(folder)
    if (folder / f"{name}.py").is_file():
        return {f"{name}.py"}
    return {
        path.relative_to(folder).as_posix()
        for path in (folder / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def python(code: str, cwd: Path, *options: str) -> str:
    """What a fresh interpreter prints, away from the checkout."""
    command = [sys.executable, "-I", *options, "-c", code]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def distribution_id(folder: Path) -> str:
    return "hal-core" if folder == ROOT else folder.name


def test_only_the_packages_are_importable(tmp_path: Path) -> None:
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name.isidentifier()}
    names = sorted(folders | {"plugins", "conformance", "tests", "cli"})
    code = f"""
from importlib.util import find_spec
for name in {names}:
    spec = find_spec(name)
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])]
    if any(str(place).startswith({str(ROOT)!r}) for place in places):
        print(name)
"""
    assert python(code, tmp_path).split() == ["hal"]


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=distribution_id)
def test_each_package_is_importable_from_anywhere(folder: Path, tmp_path: Path) -> None:
    name = import_name(folder)
    assert Path(python(f"import {name}; print({name}.__file__)", tmp_path).strip()).is_file()


def test_the_command_is_installed(tmp_path: Path) -> None:
    command = Path(sysconfig.get_path("scripts")) / "hal"
    for line in ([str(command)], [sys.executable, str(ROOT / "cli.py")]):
        result = subprocess.run([*line, "--help"], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "conformance" in result.stdout


def test_mypy_sees_every_distribution(tmp_path: Path) -> None:
    """The checkout's own settings over a copy in which every package has one type error."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    expected = set()
    for folder in DISTRIBUTIONS:
        package = tmp_path / folder.relative_to(ROOT) / import_name(folder)
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("number: int = 'text'\n")
        expected.add((package / "__init__.py").relative_to(tmp_path).as_posix())
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", os.devnull],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert {line.partition(":")[0] for line in result.stdout.splitlines()} == expected


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, built from a copy of its folder."""
    built = {}
    for folder in DISTRIBUTIONS:
        work = tmp_path_factory.mktemp(distribution_id(folder))
        copy = work / "source"
        shutil.copytree(folder, copy, ignore=_ignore_the_rest(folder))
        code = f"import setuptools.build_meta as b; print('wheel', b.build_wheel({str(work)!r}))"
        output = python(code, copy)
        built[distribution_id(folder)] = work / output.split()[-1]
    return built


def _ignore_the_rest(folder: Path) -> Any:
    keep = {"pyproject.toml", "README.md", "LICENSE", "tests", import_name(folder)}
    keep.add(f"{import_name(folder)}.py")

    def ignore(path: str, names: list[str]) -> set[str]:
        if Path(path) == folder:
            return set(names) - keep
        return {name for name in names if name == "__pycache__"}

    return ignore


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=distribution_id)
def test_a_wheel_holds_its_package_and_nothing_else(folder: Path, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[distribution_id(folder)]) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licences = [n for n in wheel.namelist() if n.endswith("dist-info/licenses/LICENSE")]
    assert files == source_files(folder)
    if (folder / import_name(folder)).is_dir():
        assert f"{import_name(folder)}/py.typed" in files
    assert len(licences) == (folder == ROOT)


def test_the_installed_wheels_find_their_data(wheels: dict[str, Path], tmp_path: Path) -> None:
    site = tmp_path / "site"
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    code = f"""
import sys
sys.path.insert(0, {str(site)!r})
import hal, hal_conformance, hal_reference
from hal.contract import contract
for module in (hal, hal_conformance, hal_reference):
    assert module.__file__.startswith({str(site)!r}), module.__file__
print(len(contract().cells()))
"""
    assert int(python(code, tmp_path)) > 0
