"""`make setup` with an interpreter that only notes what it is asked to do."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")

# Stands for the system's python3 and for the environment's: `-m venv` makes a copy of it there.
FAKE = f"""#!/bin/sh
echo "$*" >> "$FAKE_LOG"
case "$*" in
  *"$FAKE_FAIL"*) [ -n "$FAKE_FAIL" ] && exit 1 ;;
esac
case "$1 $2" in
  "-m venv") [ "$3" = --clear ] && rm -rf .venv; mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip") ;;
  -c*) exec {sys.executable} -I "$@" ;;
esac
exit 0
"""


class Checkout:
    """A copy of the files that `make setup` looks at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "calls.log"
        for name in ("Makefile", "requirements.txt", "requirements-torch.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, path)
        for source in (ROOT / "conformance", *(p.parent for p in ROOT.glob("plugins/*/*.toml"))):
            folder = path / source.relative_to(ROOT)
            folder.mkdir(parents=True)
            shutil.copy(source / "pyproject.toml", folder)
        self.python = path / "fake-python"
        self.python.write_text(FAKE)
        self.python.chmod(self.python.stat().st_mode | stat.S_IXUSR)

    def make(self, *arguments: str, fail: str = "") -> tuple[int, list[str], str]:
        """The exit code, what the interpreter was asked to do, and what make wrote to stderr."""
        self.log.write_text("")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        result = subprocess.run(
            [str(MAKE), f"PYTHON={self.python}", *arguments],
            cwd=self.path,
            env={**environment, "FAKE_LOG": str(self.log), "FAKE_FAIL": fail},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        return result.returncode, self.log.read_text().splitlines(), result.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def installs(calls: list[str]) -> list[str]:
    return [call.partition(" install ")[2].strip() for call in calls if " install " in call]


def test_setup_installs_torch_then_the_pins_then_every_distribution(checkout: Checkout) -> None:
    code, calls, errors = checkout.make("setup")
    assert code == 0, errors
    torch, pins, own = installs(calls)
    assert torch == "-r requirements-torch.txt"
    assert pins == "-r requirements.txt"
    folders = {ROOT, ROOT / "conformance", *(p.parent for p in ROOT.glob("plugins/*/*.toml"))}
    expected = {f"./{folder.relative_to(ROOT).as_posix()}" for folder in folders}
    assert {part for part in own.split() if part.startswith("./")} == expected
    assert "--no-build-isolation --no-deps" in own


def test_a_second_setup_does_nothing(checkout: Checkout) -> None:
    checkout.make("setup")
    code, calls, _ = checkout.make("setup")
    assert (code, calls) == (0, [])


@pytest.mark.parametrize("name", ["requirements.txt", "plugins/hal-reference/pyproject.toml"])
def test_a_changed_file_sets_up_again(checkout: Checkout, name: str) -> None:
    checkout.make("setup")
    path = checkout.path / name
    later = (checkout.path / ".venv" / ".hal-setup").stat().st_mtime + 10
    os.utime(path, (later, later))
    code, calls, _ = checkout.make("setup")
    assert code == 0
    assert len(installs(calls)) == 3
    assert not any(call.startswith("-m venv") for call in calls), "the environment is kept"


@pytest.mark.parametrize("step", ["requirements-torch.txt", "requirements.txt", "--no-deps"])
def test_a_setup_that_was_cut_short_is_taken_up(checkout: Checkout, step: str) -> None:
    code, _, _ = checkout.make("setup", fail=step)
    assert code != 0
    code, calls, _ = checkout.make("setup")
    assert code == 0
    assert len(installs(calls)) == 3


def test_a_broken_environment_is_built_anew(checkout: Checkout) -> None:
    (checkout.path / ".venv" / "bin").mkdir(parents=True)
    (checkout.path / ".venv" / "bin" / "python").symlink_to(checkout.path / "gone")
    code, calls, errors = checkout.make("setup")
    assert code == 0, errors
    assert [call for call in calls if "venv" in call] == ["-m venv --clear .venv"]


def test_flags_reach_pip(checkout: Checkout) -> None:
    _, calls, _ = checkout.make("setup", "PIP_FLAGS=--quiet", "TORCH_FLAGS=--index-url X")
    torch, pins, own = installs(calls)
    assert torch == "--quiet --index-url X -r requirements-torch.txt"
    assert pins == "--quiet -r requirements.txt"
    assert own.startswith("--quiet --no-build-isolation")


@pytest.mark.parametrize("version", ["(2, 7)", "(3, 9)", "(3, 14)"])
def test_a_python_outside_the_range_is_one_clear_line(checkout: Checkout, version: str) -> None:
    other = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    checkout.python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -I -c \'{other}\' "$2"\nexit 0\n'
    )
    code, _, errors = checkout.make("setup")
    assert code != 0
    clear = [line for line in errors.splitlines() if "Python 3.10 to 3.13" in line]
    assert len(clear) == 1
    assert version.strip("()").replace(", ", ".") in clear[0]
    assert "Traceback" not in errors
    assert not (checkout.path / ".venv").exists()


def test_a_python_that_is_not_there_is_one_clear_line(checkout: Checkout) -> None:
    checkout.python.unlink()
    code, _, errors = checkout.make("setup")
    assert code != 0
    assert "is not on the PATH" in errors


def test_every_target_is_in_the_help(checkout: Checkout) -> None:
    result = subprocess.run([str(MAKE)], cwd=checkout.path, capture_output=True, text=True)
    for line in (ROOT / "Makefile").read_text().splitlines():
        if line.startswith(".PHONY:"):
            for target in set(line.split()[1:]) - {"help"}:
                assert f"make {target} " in result.stdout
