"""`hal cache`: what is kept, and what clearing removes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hal.cli import main
from hal.cli.cache import app
from hal.paths import cache_dir, data_dir


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    for name, size in (("cache/onnx/a.bin", 1000), ("cache/onnx/b/c.bin", 24), ("data/runs/r", 5)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return tmp_path


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "cache"
    assert data_dir() == tmp_path / "data"
    monkeypatch.delenv("HAL_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() != data_dir()
    assert cache_dir().is_absolute() and cache_dir().name


def test_home_is_expanded_and_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HAL_HOME", "~/here")
    assert cache_dir() == tmp_path / "here" / "cache"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAL_HOME", "relative")
    assert data_dir() == tmp_path / "relative" / "data"


def test_sizes_per_part(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--json"]) == 0
    found = document(capsys)
    assert found["schema"] == "hal.cache/1"
    assert found["size"] == 1029
    onnx, runs = found["parts"]
    assert (onnx["name"], onnx["kind"], onnx["size"], onnx["files"]) == ("onnx", "cache", 1024, 2)
    assert (runs["name"], runs["kind"], runs["size"]) == ("runs", "data", 5)


def test_table(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert "1.0 KiB" in out and "onnx" in out and str(home / "cache") in out


def test_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "none"))
    assert main(["cache"]) == 0
    assert main(["cache", "clear"]) == 0
    assert "nothing is kept" in capsys.readouterr().out


def test_clear_leaves_data(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "--yes", "--json"]) == 0
    assert document(capsys)["removed"] == ["onnx"]
    assert not (home / "cache" / "onnx").exists()
    assert (home / "data" / "runs" / "r").exists()


def test_clear_one_part_by_name(home: Path) -> None:
    assert main(["cache", "clear", "runs", "--yes"]) == 0
    assert not (home / "data" / "runs").exists()
    assert (home / "cache" / "onnx").exists()


@pytest.mark.parametrize(("answer", "kept"), [("n\n", True), ("y\n", False)])
def test_clear_asks(home: Path, answer: str, kept: bool) -> None:
    result = CliRunner().invoke(app, ["clear"], input=answer)
    assert result.exit_code == 0
    assert "Remove 1.0 KiB?" in result.output
    assert (home / "cache" / "onnx").exists() is kept


def test_clear_that_gets_no_answer_removes_nothing(home: Path) -> None:
    CliRunner().invoke(app, ["clear"], input="")
    assert (home / "cache" / "onnx").exists()


def test_clear_unknown_part(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "onx", "--yes"]) == 2
    assert "there is no part 'onx'. Did you mean 'onnx'? Parts: onnx, runs." in (
        capsys.readouterr().err
    )


def test_clear_removes_a_link_and_not_what_it_points_to(home: Path) -> None:
    target = home / "mine"
    target.mkdir()
    (target / "precious").write_text("x", encoding="utf-8")
    (home / "cache" / "link").symlink_to(target, target_is_directory=True)
    assert main(["cache", "clear", "link", "--yes"]) == 0
    assert not (home / "cache" / "link").is_symlink()
    assert (target / "precious").exists()
