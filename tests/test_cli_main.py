"""The `hal` command as a whole: help, errors and exit codes, whatever a command does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hal
from hal.cli import main

COMMANDS = """
import sys, time
import typer
from hal import errors
from hal.cli import Command

def broken():
    raise errors.BrokenError("two\\nlines", traceback="its traceback", next_step="do this")

def bug():
    raise RuntimeError("oh no")

def interrupted():
    raise KeyboardInterrupt

def sleep():
    print("sleeping", flush=True)
    time.sleep(60)

def chatty():
    for i in range(100_000):
        print("line", i)

def gate():
    raise typer.Exit(1)

def number(count: int):
    '''Count.'''

COMMANDS = {n: Command(f"fake_cmds:{n}", f"help of {n}")
            for n in ("broken", "bug", "interrupted", "sleep", "chatty", "gate", "number")}
COMMANDS["gone"] = Command("not_there_at_all:x", "help of gone")
"""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hal {hal.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["hal", *arguments])
    assert main() == 0
    out = capsys.readouterr().out
    for name in ("devices", "plugins", "doctor", "cache", "ops", "conformance", "compare"):
        assert f" {name} " in out


@pytest.mark.parametrize(
    "name", ["devices", "plugins", "doctor", "cache", "ops", "conformance", "compare"]
)
def test_every_command_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    _, found, examples = capsys.readouterr().out.partition("Example")
    assert found and f"hal {name}" in examples


@pytest.mark.parametrize(
    ("arguments", "error", "step"),
    [
        (["devicse"], "there is no command 'devicse'. Did you mean 'devices'?", "hal --help"),
        (["--nope"], "No such option: --nope", "hal --help"),
        (["devices", "--jsno"], "No such option: --jsno", "hal devices --help"),
        (["devices", "--timeout", "soon"], "--timeout", "hal devices --help"),
        (["devices", "extra"], "extra", "hal devices --help"),
        (["cache", "claer"], "No such command 'claer'", "hal cache --help"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], error: str, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith("error: ") and error in first
    assert second == f"next: {step}"


@pytest.fixture
def commands(site: Any) -> Any:
    site.add("fake-cmds", COMMANDS, group="hal.commands", entry="fake_cmds:COMMANDS")
    return site


def test_hal_error_is_a_line_a_next_step_and_a_code(
    commands: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broken"]) == 7
    assert capsys.readouterr().err == "error: two lines\nnext: do this\n"


def test_debug_shows_the_tracebacks(
    commands: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAL_DEBUG", "1")
    assert main(["broken"]) == 7
    err = capsys.readouterr().err
    assert "Traceback" in err and "its traceback" in err
    assert err.endswith("error: two lines\nnext: do this\n")


def test_a_bug_is_one_line_that_says_where_its_traceback_is(
    commands: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["bug"]) == 70
    err = capsys.readouterr().err
    (saved,) = (tmp_path / "home" / "cache" / "tracebacks").iterdir()
    assert err == f"error: a bug in hal: RuntimeError: oh no; the traceback is in {saved}\n"
    assert "in bug" in saved.read_text(encoding="utf-8")


def test_a_bug_where_nothing_can_be_written(
    commands: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("a file where the folder belongs", encoding="utf-8")
    assert main(["bug"]) == 70
    assert capsys.readouterr().err.endswith("oh no; set HAL_DEBUG=1 to see the traceback\n")


def test_a_gate_that_does_not_hold_is_1(commands: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate"]) == 1
    assert capsys.readouterr().err == ""


def test_ctrl_c_in_a_command(commands: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["interrupted"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_command_whose_module_is_not_installed(
    commands: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gone"]) == 5
    assert capsys.readouterr().err.startswith("error: hal gone needs the Python module 'not_there")


def test_a_commands_module_that_fails_costs_its_own_commands(
    commands: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.add("fake-bad", "1/0", group="hal.commands", entry="fake_bad:COMMANDS")
    commands.add("fake-odd", "COMMANDS = 3", group="hal.commands", entry="fake_odd:COMMANDS")
    assert main(["--help"]) == 0
    captured = capsys.readouterr()
    assert "help of gate" in captured.out
    assert "warning: the commands of bad are left out: ZeroDivisionError" in captured.err
    assert "warning: the commands of odd are left out: TypeError" in captured.err


def test_two_commands_of_one_name_are_said(
    commands: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.add(
        "fake-zzz",
        "from hal.cli import Command\nCOMMANDS = {'gate': Command('fake_zzz:gate', 'another')}",
        group="hal.commands",
        entry="fake_zzz:COMMANDS",
    )
    assert main(["gate"]) == 1
    assert "cmds and zzz both provide the command 'gate'; the one of cmds" in (
        capsys.readouterr().err
    )


def hal_process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hal", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_real_ctrl_c_is_130_without_a_traceback(commands: Any) -> None:
    with hal_process("sleep") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sleeping\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() in ("", "interrupted")


def test_closed_pipe_is_silent(commands: Any) -> None:
    with hal_process("chatty") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "--json"]])
def test_full_disk_is_one_line(site: Any, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hal", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 4
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
@pytest.mark.parametrize("no_color", [False, True])
def test_colour_only_on_a_terminal_that_wants_it(site: Any, no_color: bool) -> None:
    site.add("fake-broken", "1/0")
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    env.pop("NO_COLOR", None)
    if no_color:
        env["NO_COLOR"] = "1"
    parent, child = os.openpty()
    process = subprocess.Popen([sys.executable, "-m", "hal", "plugins"], stdout=child, env=env)
    os.close(child)
    text = b""
    try:
        while chunk := os.read(parent, 65536):
            text += chunk
    except OSError:
        pass  # Linux says so that the other end is closed
    os.close(parent)
    assert process.wait() == 0
    assert b"fake-broken" in text
    assert (b"\x1b[31m" in text) is not no_color


def test_no_colour_in_a_pipe(site: Any) -> None:
    site.add("fake-broken", "1/0")
    with hal_process("plugins") as process:
        out, _ = process.communicate(timeout=60)
    assert "fake-broken" in out
    assert "\x1b" not in out


def complete(words: str, **env: str) -> list[str]:
    count = str(len(words.split(" ")) - 1)
    done = subprocess.run(
        [sys.executable, "-m", "hal"],
        env={
            **os.environ,
            "_HAL_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": count,
            **env,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout.split()


def test_an_option_without_its_value_leads_to_the_commands_help(capsys: Any) -> None:
    assert main(["devices", "--backend"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        *("error: Option '--backend' requires an argument.", "next: hal devices --help"),
    ]


def test_completion_of_commands_and_options() -> None:
    assert complete("hal dev") == ["devices"]
    assert "--timeout" in complete("hal devices --")


def test_completion_of_a_backend_needs_no_probe(site: Any, tmp_path: Path) -> None:
    assert complete("hal devices --backend o") == []
    folder = tmp_path / "home" / "cache" / "devices"
    folder.mkdir(parents=True)
    (folder / "last.json").write_text('["ort:cpu", "openvino:cpu", "torch:cpu"]', encoding="utf-8")
    assert complete("hal devices --backend o") == ["ort", "openvino"]
    (folder / "last.json").write_text("not JSON", encoding="utf-8")
    assert complete("hal devices --backend o") == []
