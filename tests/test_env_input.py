"""`hal env` and what it is given: names, interpreters, lock files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hal.cli import main
from hal.elsewhere import environments_dir
from hal.elsewhere._interpreter import find_interpreter, inspect
from hal.elsewhere._linked import link_distributions, sources_of
from hal.elsewhere._lockfile import read_lock
from hal.elsewhere._steps import Steps
from hal.errors import BrokenError, UnavailableError, UsageError

PLUGIN = """
import hal
@hal.hookimpl
def hal_backends():
    environment = hal.EnvironmentSpec("tiny", "tiny.lock.txt")
    return [hal.BackendSpec("tiny", object, requires=("tiny-sdk",), environment=environment)]
"""
WRONG_LOCKS = {
    "no-pin": ("numpy==1.26.4\nonnx\n", "line 2: 'onnx' pins no version"),
    "range": ("numpy>=1.26\n", "line 1: 'numpy>=1.26' pins no version"),
    "wildcard": ("numpy==1.*\n", "pins no version"),
    "url": ("numpy @ file:///numpy.whl\n", "pins no version"),
    "option": ("\n--pre\n", "line 2: '--pre' is no requirement"),
    "binary": ("\0\1\n", "is no requirement"),
    "twice": ("numpy==1\nNumPy==2\n", "line 2: numpy is pinned twice"),
}


@pytest.fixture
def plugin(site: Any) -> Path:
    site.add("hal-tiny", PLUGIN)
    path: Path = site.path / "tiny.lock.txt"
    path.write_text("numpy==1.26.4\n")
    return path


@pytest.mark.parametrize("name", ["", ".", "..", "../tiny", "/", "tinyy", "ti ny", "TINY"])
@pytest.mark.parametrize("command", ["create", "remove"])
def test_env_unknown_names(
    plugin: Path, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = environments_dir().parent / "keep"
    keep.mkdir(parents=True)
    assert main(["env", command, "--", name]) == 2
    told = capsys.readouterr().err
    assert repr(name) in told and "next: hal env list" in told
    assert keep.exists() and not environments_dir().exists()


def test_env_a_name_close_to_another_is_suggested(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["env", "create", "tinyy"]) == 2
    assert "Did you mean 'tiny'?" in capsys.readouterr().err


def test_env_interpreters_that_do_not_fit(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    for asked, reason in (("no-such-python", "there is no program"), (broken, "does not run as")):
        assert main(["env", "create", "tiny", "--python", str(asked)]) == 2
        assert reason in capsys.readouterr().err
    assert not environments_dir().exists()
    own = inspect(Path(sys.executable))
    assert find_interpreter(f"=={own.version}").path == Path(sys.executable)
    with pytest.raises(UsageError, match=r"and <3.9,>=3.10 is needed"):
        find_interpreter("<3.9", sys.executable)
    with pytest.raises(UnavailableError, match=f"found are .*{own.version}"):
        find_interpreter("<3.9")


@pytest.mark.parametrize(("text", "reason"), WRONG_LOCKS.values(), ids=WRONG_LOCKS.keys())
def test_env_wrong_lock_files(plugin: Path, text: str, reason: str) -> None:
    plugin.write_text(text)
    with pytest.raises(BrokenError) as caught:
        read_lock(plugin, {})
    assert reason in str(caught.value)


def test_env_a_missing_lock_file_is_the_plugins_fault(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin.unlink()
    assert main(["env", "create", "tiny"]) == 7
    assert "lock file 'tiny.lock.txt' that is not beside it" in capsys.readouterr().err


def test_env_markers_are_those_of_the_other_python(plugin: Path) -> None:
    plugin.write_text("a==1; python_version < '3.9'\nb==2; python_version >= '3.9'\n")
    assert [str(pin) for pin in read_lock(plugin, {"python_version": "3.8"})] == ["a==1"]


def test_env_a_folder_that_cannot_be_made(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environments_dir().parent.mkdir(parents=True)
    environments_dir().write_text("a file")
    assert main(["env", "create", "tiny"]) == 4
    assert f"{environments_dir()}" in capsys.readouterr().err


def test_env_links_what_the_distribution_brings(site: Any, tmp_path: Path) -> None:
    """Of an installed wheel, all of its packages; the other side finds hal and the plugin alone."""
    site.add("hal-tiny", PLUGIN, files=["tiny_parts/__init__.py", "../bin/tiny"])
    (site.path / "tiny_parts").mkdir()
    (site.path / "tiny_parts" / "__init__.py").write_text("")
    names = [path.name for path in sources_of("hal-tiny", ["hal_tiny"])]
    assert names == ["hal_tiny.py", "tiny_parts"]
    packages = tmp_path / "packages"
    packages.mkdir()
    for _ in range(2):  # a second time, as after an upgrade
        link_distributions(packages, "hal-tiny", ["hal_tiny"])
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import hal, importlib.metadata as m;"
        "print(m.version('hal-tiny'), m.version('hal-core') == hal.__version__, hal.__file__)"
    )
    run = [sys.executable, "-I", "-c", code, str(packages)]
    output = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    assert output == ["1.0", "True", str(packages / "hal" / "__init__.py")]


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_env_a_step_that_is_killed_says_so(tmp_path: Path) -> None:
    """As the kernel does when memory runs out; what was printed last is not the reason."""
    script = "import os; print('collecting', flush=True); os.kill(os.getpid(), 9)"
    with Steps("tiny", tmp_path / "log", lambda text: None) as steps:
        steps.begin("install it")
        with pytest.raises(UnavailableError, match="install it: it was ended by signal 9"):
            steps.run([sys.executable, "-c", script])
    assert "collecting" in (tmp_path / "log").read_text()
