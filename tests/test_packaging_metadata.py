"""What the files of the checkout promise: pins, ranges, licence, and nothing about a machine."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LICENSE_WORDS = 1581  # of the Apache License 2.0 with its appendix


def pyprojects() -> list[Path]:
    return [
        ROOT / "pyproject.toml",
        ROOT / "conformance" / "pyproject.toml",
        *sorted(ROOT.glob("plugins/*/pyproject.toml")),
    ]


def load(path: Path) -> dict[str, Any]:
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    document: dict[str, Any] = toml.loads(path.read_text(encoding="utf-8"))
    return document


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def project_id(path: Path) -> str:
    return path.parent.name


def committed() -> list[Path]:
    """Every file that git tracks or would track."""
    result = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        pytest.skip("not a git checkout")
    names = [ROOT / name for name in result.stdout.split("\0") if name]
    return [path for path in names if path.is_file()]


@pytest.mark.parametrize("path", pyprojects(), ids=project_id)
def test_published_metadata_has_ranges(path: Path) -> None:
    project = load(path)["project"]
    extras = project.get("optional-dependencies", {}).values()
    published = [*project["dependencies"], *(line for extra in extras for line in extra)]
    for requirement in map(Requirement, published):
        operators = {s.operator for s in requirement.specifier}
        assert operators <= {">="}, f"{requirement} is not open upwards"
    assert project["requires-python"] == ">=3.10"


@pytest.mark.parametrize("path", pyprojects(), ids=project_id)
def test_distributions_go_together(path: Path) -> None:
    project = load(path)["project"]
    core = load(ROOT / "pyproject.toml")["project"]
    assert project["version"] == core["version"]
    assert project["license"] == "Apache-2.0"
    assert (path.parent / project["readme"]).read_text(encoding="utf-8").startswith("# ")
    assert path.parent in (ROOT, ROOT / "conformance") or project["name"] == path.parent.name
    own = {r.name for r in map(Requirement, project["dependencies"])}
    assert project["name"] == "hal-core" or "hal-core" in own
    assert "hal" not in own, "the distribution hal is another project"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-torch.txt"])
def test_the_checkout_is_pinned(name: str) -> None:
    assert requirements(name)
    for requirement in requirements(name):
        assert [s.operator for s in requirement.specifier] == ["=="], str(requirement)
        assert "*" not in str(requirement.specifier)


def test_torch_is_pinned_alone() -> None:
    assert [r.name for r in requirements("requirements-torch.txt")] == ["torch"]
    assert "torch" not in {r.name for r in requirements("requirements.txt")}


@pytest.mark.parametrize("python", PYTHONS)
def test_each_python_gets_one_pin_a_package(python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    names = [
        canonicalize_name(r.name)
        for r in requirements("requirements.txt")
        if r.marker is None or r.marker.evaluate(environment)
    ]
    assert sorted(set(names)) == sorted(names)
    needed = {
        canonicalize_name(r.name)
        for path in pyprojects()
        for r in map(Requirement, load(path)["project"]["dependencies"])
        if r.marker is None or r.marker.evaluate(environment)
    }
    needed |= {"onnxruntime", "openvino", "pytest", "ruff", "mypy", "setuptools"}
    own = {load(path)["project"]["name"] for path in pyprojects()}
    assert needed - own - {"torch"} <= set(names)


def test_pins_meet_the_published_ranges() -> None:
    pins = requirements("requirements.txt")
    for path in pyprojects():
        for wanted in map(Requirement, load(path)["project"]["dependencies"]):
            for pin in pins:
                if canonicalize_name(pin.name) == canonicalize_name(wanted.name):
                    (version,) = (s.version for s in pin.specifier)
                    assert wanted.specifier.contains(version), f"{path}: {wanted}, pinned {pin}"


def test_licence_is_the_whole_apache_text() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    plain = text.replace("2026 The HAL authors", "[yyyy] [name of copyright owner]")
    assert len(plain.split()) == LICENSE_WORDS
    assert "Copyright 2026 The HAL authors" in text
    for number in range(1, 10):
        assert re.search(rf"^   {number}\. ", text, re.MULTILINE), f"section {number}"


HOST = re.compile(
    r"\b(?:[\w-]+\.)*(?:pypi|pythonhosted|npmjs|anaconda|pytorch)\.(?:org|com|io)(?:/whl|/simple)?\b"
)
PERSONAL = re.compile(r"(?<![\w.\]*/-])/(?:root|work|home/\w+|Users/\w+)/\w")


@pytest.mark.parametrize("pattern", [HOST, PERSONAL], ids=["registry", "machine-path"])
def test_no_file_names_a_registry_or_a_path_of_a_machine(pattern: re.Pattern[str]) -> None:
    found = []
    for path in committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {m.group()}" for m in pattern.finditer(text)]
    assert not found


def test_the_patterns_find_what_they_are_for() -> None:
    assert HOST.search("see https://" + "pypi" + ".org/simple")
    assert HOST.search("https://download." + "pytorch" + ".org/whl/cpu")
    assert PERSONAL.search("in " + "/root/" + "x/y.py")
    assert not PERSONAL.search("docs/work/notes and a/home/b/c")


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    files = {path.name for path in folder.glob("[0-9]*.md")}
    linked = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text("utf-8"))
    assert sorted(linked) == sorted(files)
    numbers = [name[:4] for name in sorted(files)]
    assert numbers == [f"{n:04d}" for n in range(1, len(files) + 1)]


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in committed() if re.fullmatch(r"test_\w+\.py", path.name)]
    assert sorted(set(names)) == sorted(names)


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    named = {path for row in rows for path in re.findall(r"`([\w.*/-]+/[\w.*/-]*)`", row)}
    assert len(named) > 20
    assert sorted(path for path in named - {"tests/"} if not any(ROOT.glob(path))) == []


def test_no_shipped_module_asserts() -> None:
    """User input never meets an assert, so there is none that it could meet."""
    shipped = [
        path
        for path in committed()
        if path.suffix == ".py" and not {"tests", "benchmarks"} & set(path.relative_to(ROOT).parts)
    ]
    assert len(shipped) > 50
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in shipped
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert not found
