"""docs/writing-a-backend.md does what it says: its commands run, and print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-backend.md"
BLOCK = re.compile(r"^```(\w+)(?: append=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps() -> list[tuple[str, str, str]]:
    return [(m[1], m[2] or "", m[3]) for m in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block, with the lines that its output must contain."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(_plain(line))
    return found


def _plain(text: str) -> str:
    return " ".join(text.split())


def test_page_has_both_styles_and_commands() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "hal plugin new mychip" in text and "--style compiler" in text
    assert sum(len(commands(t)) for kind, _, t in steps() if kind == "console") >= 15


@pytest.mark.slow
def test_page_works_as_written(tmp_path: Path, environment: dict[str, str]) -> None:
    work, site = tmp_path / "work", tmp_path / "mychip-site"
    work.mkdir()
    path = os.pathsep.join([str(site), environment["PYTHONPATH"]])
    env = {**environment, "PYTHONPATH": path}
    for kind, name, text in steps():
        if name:
            with (work / name).open("a", encoding="utf-8") as file:
                file.write(f"\n\n{text}")
        for command, expected in commands(text) if kind == "console" else ():
            words = shlex.split(command)
            if words[:2] == ["pip", "install"]:
                words[2:2] = ["--quiet", "--upgrade", "--target", str(site)]
            done = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=work,
                env=env,
                capture_output=True,
                text=True,
                timeout=240,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            printed = _plain(done.stdout)
            for line in expected:
                assert line in printed, f"{command}\nnot there: {line}\n{done.stdout}{done.stderr}"
    assert (work / "known.toml").is_file()


@pytest.mark.parametrize("error", re.findall(r"^\| `(\w+Error)", PAGE.read_text(), re.MULTILINE))
def test_errors_of_the_page_exist(error: str) -> None:
    import hal.errors

    assert error in hal.errors.__all__
