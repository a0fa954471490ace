"""Runs the `hal` command from a checkout: python cli.py ..."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

EXIT_NOT_SET_UP = 5


def run() -> int:
    """The exit code of `hal`, or 5 and one line where the checkout is not set up."""
    try:
        if sys.version_info < (3, 10):  # noqa: UP036 (an older interpreter gets this far)
            raise ImportError("Python 3.10 or newer is needed")
        metadata.version("hal-core")
        from hal.cli import main
        from hal.cli._main import run as _  # noqa: F401 (imports what the command depends on)
    except ImportError as error:
        missing = isinstance(error, metadata.PackageNotFoundError)
        reason = "hal-core is not installed" if missing else str(error)
        python = Path(__file__).parent / ".venv" / "bin" / "python"
        step = f"{python} cli.py" if python.exists() else "make setup"
        print(f"error: {sys.executable} cannot run hal: {reason}; next: {step}", file=sys.stderr)
        return EXIT_NOT_SET_UP
    return main()


if __name__ == "__main__":
    sys.exit(run())
