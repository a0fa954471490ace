"""docs/writing-a-backend.md does what it says: its files are written, its commands run in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-backend.md"
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps() -> list[tuple[str, str, str]]:
    return [(m[1], m[2] or "", m[3]) for m in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of a console block, with the line that its output must contain."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            found[-1] = (found[-1][0], line.strip())
    return found


def test_page_has_both_styles_and_commands() -> None:
    kinds = [kind for kind, _, _ in steps()]
    assert kinds.count("console") >= 4
    assert [name for _, name, _ in steps()].count("hal_mychip.py") == 2


def test_page_works_as_written(tmp_path: Path, environment: dict[str, str]) -> None:
    folder, site = tmp_path / "hal-mychip", tmp_path / "mychip-site"
    folder.mkdir()
    path = os.pathsep.join([str(site), environment["PYTHONPATH"]])
    env = {**environment, "PYTHONPATH": path}
    for kind, name, text in steps():
        if name:
            (folder / name).write_text(text, encoding="utf-8")
        for command, expected in commands(text) if kind == "console" else ():
            words = shlex.split(command)
            if words[:2] == ["pip", "install"]:
                words[2:2] = ["--quiet", "--upgrade", "--target", str(site)]
            program = {"pip": [sys.executable, "-m", "pip"], "hal": [sys.executable, "-m", "hal"]}
            done = subprocess.run(
                [*program[words[0]], *words[1:]],
                cwd=folder,
                env=env,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            assert expected in done.stdout, f"{command}\n{done.stdout}{done.stderr}"
    assert (folder / "hal_mychip.expectations.toml").is_file()


@pytest.mark.parametrize("error", re.findall(r"^\| `(\w+Error)", PAGE.read_text(), re.MULTILINE))
def test_errors_of_the_page_exist(error: str) -> None:
    import hal.errors

    assert error in hal.errors.__all__
