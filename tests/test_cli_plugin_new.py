"""`hal plugin new`: what it writes, and what it refuses."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from hal.cli import main
from hal.scaffold import NewPlugin

tomllib = pytest.importorskip("tomllib")


@pytest.mark.parametrize("style", ["kernels", "compiler"])
def test_files_are_whole(style: Any) -> None:
    files = NewPlugin("my-npu", style, "gpu").files()
    assert {Path(name).name for name in files} == {
        "pyproject.toml",
        "README.md",
        ".gitignore",
        "conformance.yml",
        "__init__.py",
        "expectations.toml",
        "test_hal_my_npu.py",
    }
    for name, text in files.items():
        assert "$" not in text.replace("${{", ""), name
        if name.endswith(".py"):
            ast.parse(text)
            assert "my-npu:gpu" in text
        if name.endswith(".toml"):
            tomllib.loads(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "hal-my-npu"
    assert project["entry-points"]["hal"] == {"my-npu": "hal_my_npu"}


def test_it_says_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "new", "my-npu", "--into", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    folder = tmp_path / "hal-my-npu"
    assert document["schema"] == "hal.plugin-new/1"
    assert document["next"][-1] == "hal conformance --device my-npu:npu"
    written = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert written == set(document["files"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["My_NPU"], 2, "cannot be a backend's name"),
        (["class"], 2, "cannot be a backend's name"),
        (["hal-x"], 2, "next: hal plugin new x"),
        (["x", "--style", "kernel"], 2, "there is no style 'kernel'"),
        (["x", "--kind", "toaster"], 2, "there is no kind of device 'toaster'"),
    ],
)
def test_bad_words_are_refused(
    arguments: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugin", "new", *arguments, "--into", str(tmp_path)]) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_taken_name_is_refused(
    site: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (
        "import hal\n@hal.hookimpl\ndef hal_backends():\n    return [hal.BackendSpec('x', object)]"
    )
    site.add("fake-x", source)
    assert main(["plugin", "new", "x", "--into", str(tmp_path)]) == 2
    assert "fake-x provides a backend 'x' here already" in capsys.readouterr().err


def test_folder_that_exists_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "hal-my-npu" / "README.md"
    kept.parent.mkdir()
    kept.write_text("mine", encoding="utf-8")
    assert main(["plugin", "new", "my-npu", "--into", str(tmp_path)]) == 4
    assert "is there already, and nothing in it is touched" in capsys.readouterr().err
    assert [p.name for p in kept.parent.iterdir()] == ["README.md"]
    assert kept.read_text(encoding="utf-8") == "mine"


def test_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["plugin", "new", "x", "--into", str(tmp_path / "file")]) == 4
    assert "cannot be written" in capsys.readouterr().err
