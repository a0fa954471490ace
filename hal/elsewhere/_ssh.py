"""Commands that run on another machine, through the user's own ssh."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from hal.errors import UnavailableError, UsageError

__all__ = ["LOST", "ask", "check_destination", "check_options", "ssh_command"]

LOST = 255
"""What ssh ends with when it cannot connect, or the connection is lost."""

# A dead peer is noticed after 15 seconds; nobody is there to type a password. The first value of an
# option is the one that counts, so that the user's come before the rest.
_FIRST = ("BatchMode=yes",)
_REST = ("ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")


def ssh_command(
    destination: str, options: Sequence[str], command: Sequence[str]
) -> tuple[str, ...]:
    """What runs `command` there; arguments may be appended, words without signs that a shell
    minds. It ends as the command does, with 128 and the signal's number if that killed it."""
    script = shlex.join(["env", "PYTHONSAFEPATH=1", *command]) + ' "$@"; exit $?'
    settings = [word for option in (*_FIRST, *options, *_REST) for word in ("-o", option)]
    there = f"sh -c {shlex.quote(script)} hal"
    return ("ssh", "-T", "-a", "-x", *settings, "--", destination, there)


def ask(destination: str, options: Sequence[str], command: Sequence[str], timeout: float) -> str:
    """What a command says there on its standard output. Raises UnavailableError with the reason."""
    try:
        done = subprocess.run(
            ssh_command(destination, options, command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise UnavailableError(
            "there is no ssh here", next_step="install OpenSSH's client"
        ) from None
    except OSError as error:
        raise UnavailableError(f"ssh cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            f"{destination} did not answer in {timeout:g} s", next_step=f"ssh {destination}"
        ) from None
    told = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    reason = told[-1].strip() if told else f"it ended with {done.returncode}"
    if done.returncode == LOST:
        raise UnavailableError(
            f"{destination} cannot be reached: {reason}",
            next_step=f"try it by hand: ssh {destination} true (no password can be typed here)",
        )
    if done.returncode:
        python = command[0]
        raise UnavailableError(
            f"{destination} cannot run {shlex.join(command)}: {reason}",
            next_step=f"install hal-core and plugins for {python} there, or name another --python",
        )
    return done.stdout.decode("utf-8", "replace")


def check_destination(destination: str) -> str:
    """The destination, e.g. "user@host". Raises UsageError for one that ssh could take as an
    option, or that is none."""
    if not destination or destination.startswith("-") or any(c.isspace() for c in destination):
        raise UsageError(
            f"{destination!r} is no destination for ssh",
            next_step="give user@host, or a name of your ssh configuration",
        )
    return destination


def check_options(options: Sequence[str]) -> tuple[str, ...]:
    """Options as in ssh_config. Raises UsageError for one that is no Key=value."""
    for option in options:
        key, equals, value = option.partition("=")
        if not key.isalnum() or not equals or not value or "\n" in value:
            raise UsageError(
                f"--ssh-option {option!r} is no Key=value", next_step="e.g. --ssh-option Port=2222"
            )
    return tuple(options)
