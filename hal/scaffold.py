"""A new backend plugin: it installs, passes its own tests and has a first score at once."""

from __future__ import annotations

import dataclasses
import keyword
import re
import string
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

import hal
from hal.device import DeviceKind
from hal.errors import OutputError, UsageError

__all__ = ["NewPlugin", "Style", "write_plugin"]

Style = Literal["kernels", "compiler"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclasses.dataclass(frozen=True)
class NewPlugin:
    """What a new plugin is called. `name` is the backend's ("my-npu"); the distribution, the module
    and the device's id come of it. Raises UsageError for a name that cannot be one, for an unknown
    style and an unknown kind."""

    name: str
    style: Style = "kernels"
    kind: DeviceKind = "npu"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or keyword.iskeyword(self.name):
            raise UsageError(
                f"{self.name!r} cannot be a backend's name: small letters, digits and single "
                "hyphens, a letter first",
                next_step="hal plugin new my-npu",
            )
        if self.name.startswith("hal-"):
            raise UsageError(
                f"{self.name!r}: the distribution gets its 'hal-' by itself",
                next_step=f"hal plugin new {self.name.removeprefix('hal-')}",
            )
        if self.style not in get_args(Style):
            raise UsageError(f"there is no style {self.style!r}: {' or '.join(get_args(Style))}")
        if self.kind not in get_args(DeviceKind):
            kinds = ", ".join(get_args(DeviceKind))
            raise UsageError(f"there is no kind of device {self.kind!r}: one of {kinds}")

    @property
    def distribution(self) -> str:
        return f"hal-{self.name}"

    @property
    def module(self) -> str:
        return f"hal_{self.name.replace('-', '_')}"

    @property
    def device(self) -> str:
        return f"{self.name}:{self.kind}"

    def files(self) -> dict[str, str]:
        """The text of every file, by its path in the distribution's folder."""
        words = {
            "backend": self.name,
            "device": self.device,
            "distribution": self.distribution,
            "hal_version": hal.__version__,
            "kind": self.kind,
            "module": self.module,
            "requirements": ', "onnx"' if self.style == "compiler" else "",
            "title": self.name.replace("-", " ").capitalize(),
        }
        words["steps"] = _fill(f"{self.style}/steps.md", words).rstrip()
        templates = {
            "pyproject.toml": "common/pyproject.toml.in",
            "README.md": "common/README.md",
            ".gitignore": "common/gitignore",
            ".github/workflows/conformance.yml": "common/workflow.yml",
            f"{self.module}/__init__.py": f"{self.style}/backend.py.in",
            f"{self.module}/expectations.toml": "common/expectations.toml",
            f"tests/test_{self.module}.py": f"{self.style}/test_backend.py.in",
        }
        return {path: _fill(template, words) for path, template in templates.items()}


def write_plugin(plugin: NewPlugin, parent: Path) -> Path:
    """Write the distribution as a new folder in `parent`; returns the folder. Raises OutputError if
    it exists already or cannot be written."""
    folder = parent / plugin.distribution
    try:
        folder.mkdir(parents=True)
        for name, text in plugin.files().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise OutputError(
            f"{folder} is there already, and nothing in it is touched",
            next_step=f"choose another name, or remove {folder}",
        ) from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    return folder


def _fill(template: str, words: dict[str, str]) -> str:
    text = (
        resources.files("hal")
        .joinpath("plugin_template")
        .joinpath(template)
        .read_text(encoding="utf-8")
    )
    return string.Template(text).substitute(words)
