"""`hal report`, and what it says of files that it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hal_conformance.report import read, write
from made_up import four_devices

from hal.cli import main


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    write(four_devices(30), tmp_path / "report.json")
    return tmp_path / "report.json"


def run(*arguments: object) -> int:
    return main(["report", *map(str, arguments)])


def test_every_form_from_one_command(saved: Path, tmp_path: Path) -> None:
    names = {"--html": "a.html", "--markdown": "a.md", "--junit": "a.xml", "--json": "a.json"}
    options = [x for option, name in names.items() for x in (option, tmp_path / name)]
    assert run(saved, saved, *options) == 0
    assert (tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "a.md").read_text().startswith("| device |")
    assert (tmp_path / "a.xml").read_text().startswith("<?xml")
    assert len(read(tmp_path / "a.json").reports) == 8


def test_without_an_option_the_tables_are_shown(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(saved) == 0
    assert "made0:npu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema": "hal.conformance/2", "reports": []}', "upgrade hal-conformance"),
        ('{"schema": "hal.compare/1"}', "its schema is 'hal.compare/1'"),
        ("", "cut short"),
        ('{"schema": "hal.conformance/1", "reports": []}', "the report holds no device"),
        ('{"schema": "hal.conformance/1", "reports": [1]}', "reports[0]"),
    ],
)
def test_what_is_no_report_is_refused(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    assert run(path, "--html", tmp_path / "a.html") == 3
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(path) in error and said in error
    assert not (tmp_path / "a.html").exists()


def test_a_folder_that_cannot_be_written(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(saved, "--html", tmp_path / "absent" / "a.html") == 4
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert run(saved, "--markdown", tmp_path / "file" / "a.md") == 4


def test_a_report_without_cells_is_shown(saved: Path, tmp_path: Path) -> None:
    """Reports of an older hal-conformance have none."""
    document = json.loads(saved.read_text())
    for one in document["reports"]:
        for case in one["cases"]:
            del case["cells"]
    saved.write_text(json.dumps(document))
    assert run(saved, "--html", tmp_path / "a.html") == 0
