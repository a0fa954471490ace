"""The checks of `hal doctor`: each returns what it found to be wrong, with the way to mend it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from hal.cli import COMMANDS_GROUP
from hal.hookspecs import ENTRY_POINT_GROUP
from hal.paths import cache_dir, data_dir
from hal.plugins import BackendStatus, PluginStatus, Registry, State

__all__ = [
    "Problem",
    "check_folders",
    "check_onnxruntime_wheels",
    "check_requirements",
    "check_states",
    "check_torch_autoload",
    "versions",
]

_KEY_PACKAGES = (
    "hal-core",
    "hal-conformance",
    "numpy",
    "ml_dtypes",
    "onnx",
    "protobuf",
    "openvino",
    "torch",
    "pluggy",
    "typer",
    "rich",
    "psutil",
)
_LEAST_FREE = 1 << 30  # bytes: the official cases with their models, and a few reports
_TORCH_SECONDS = 120.0

# The wheels that bring the package `onnxruntime` itself, for those without a list of their files.
_ONNXRUNTIME_WHEELS = frozenset(
    f"onnxruntime{suffix}"
    for suffix in (
        "",
        "-gpu",
        "-openvino",
        "-directml",
        "-cann",
        "-migraphx",
        "-rocm",
        "-training",
        "-silicon",
        "-vitisai",
    )
)


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong: which check found it, what it is, and what mends it."""

    check: str
    message: str
    next_step: str


def versions() -> dict[str, str]:
    """The installed versions of the packages that matter here, every onnxruntime wheel included."""
    installed = {d.name: d.version for d in _distributions()}
    names = [*_KEY_PACKAGES, *sorted(n for n in installed if n.startswith("onnxruntime"))]
    return {name: installed[key] for name in names if (key := canonicalize_name(name)) in installed}


def check_onnxruntime_wheels() -> list[Problem]:
    """Several wheels that bring the package `onnxruntime`, or one whose files are gone."""
    owners = sorted(
        (d for d in _distributions() if d.name.startswith("onnxruntime") and d.owns_onnxruntime),
        key=lambda d: d.name,
    )
    if len(owners) > 1:
        # Whoever installed a special wheel beside the plain one wanted the special one.
        keep = next(d for d in owners if d.name != "onnxruntime")
        names = " ".join(d.name for d in owners)
        others = " or ".join(d.name for d in owners if d is not keep)
        return [
            Problem(
                "onnxruntime",
                f"{' and '.join(f'{d.name} {d.version}' for d in owners)} overwrite one another: "
                "each installs the package onnxruntime, and what runs is a mixture",
                f"pip uninstall -y {names} && pip install {keep.name}=={keep.version} "
                f"(if you want {others}, name that instead)",
            )
        ]
    return [
        Problem(
            "onnxruntime",
            f"{d.name} {d.version} is installed, but {d.missing} of its files are gone: "
            "a wheel that shared them was removed",
            f"pip install --force-reinstall --no-deps {d.name}=={d.version}",
        )
        for d in owners
        if d.missing
    ]


def check_requirements(also: Iterable[str] = ()) -> list[Problem]:
    """Requirements that do not hold: of HAL's distributions, its plugins' and those named."""
    installed = {d.name: d for d in _distributions()}
    checked = {n for n, d in installed.items() if d.is_ours}
    checked |= {key for name in also if (key := canonicalize_name(name)) in installed}
    problems = []
    for name in sorted(checked):
        for text in installed[name].requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement as error:
                step = f"upgrade {name}"
                problems.append(Problem("requirements", f"{name} requires {text!r}: {error}", step))
                continue
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            found = installed.get(canonicalize_name(requirement.name))
            wanted = f"{requirement.name}{requirement.specifier}"
            if found is None:
                message = f"{name} requires {wanted}, which is not installed"
            elif not requirement.specifier.contains(found.version, prereleases=True):
                message = f"{name} requires {wanted}, and {found.version} is installed"
            else:
                continue
            problems.append(Problem("requirements", message, f"pip install '{wanted}'"))
    return problems


def check_torch_autoload() -> list[Problem]:
    """`import torch` broken by a device backend that torch loads by itself."""
    backends = importlib.metadata.entry_points(group="torch.backends")
    if not backends or not any(d.name == "torch" for d in _distributions()):
        return []
    reason = _import_torch({})
    if not reason:
        return []
    names = ", ".join(sorted({e.dist.name if e.dist else e.name for e in backends}))
    if _import_torch({"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}):
        message = f"import torch fails: {reason}"
        return [Problem("torch", message, "pip install --force-reinstall torch")]
    return [
        Problem(
            "torch",
            f"import torch fails while it loads {names} by itself: {reason}",
            "export TORCH_DEVICE_BACKEND_AUTOLOAD=0 (or install what the backend needs)",
        )
    ]


def _import_torch(env: dict[str, str]) -> str:
    """Why `import torch` fails in a fresh interpreter; "" if it does not."""
    command = [sys.executable, "-c", "import torch"]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_TORCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_TORCH_SECONDS:g} s"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines()]
    raised = [line for line in lines if "Error: " in line]
    return " / ".join(raised[:1] or lines[-1:]) or f"exit code {done.returncode}"


def check_folders() -> list[Problem]:
    """Cache and data folders that cannot be written, or are nearly full."""
    problems = []
    for folder in (cache_dir(), data_dir()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"hal")
            free = shutil.disk_usage(folder).free
        except OSError as error:
            message = f"{folder} cannot be written: {error.strerror or error}"
            problems.append(Problem("folders", message, "export HAL_HOME=<a folder of yours>"))
            continue
        if free < _LEAST_FREE:
            message = f"{folder} has {free >> 20} MiB left on its disk, and HAL wants 1024"
            problems.append(Problem("folders", message, "hal cache clear"))
    return problems


def check_states(
    plugins: Iterable[PluginStatus], statuses: Iterable[BackendStatus], *, wanted: bool
) -> list[Problem]:
    """Broken plugins and backends; and those that are only absent or unavailable when `wanted`.

    Without any, that nothing is ready is a problem too.
    """
    problems = [
        Problem("plugins", f"plugin {p.name} is broken: {p.reason}", p.next_step)
        for p in plugins
        if p.state is State.BROKEN
    ]
    statuses = list(statuses)
    problems += [
        Problem("backends", f"backend {s.name} is {s.state.value}: {s.reason}", s.next_step)
        for s in statuses
        if s.state is State.BROKEN or (wanted and s.state is not State.READY)
    ]
    if not problems and not any(s.state is State.READY for s in statuses):
        message = "no backend is ready" if statuses else "no plugin provides a backend"
        problems.append(Problem("backends", message, "pip install hal-onnxruntime onnxruntime"))
    return problems


def required(registry: Registry, names: Iterable[str]) -> list[str]:
    """The distributions that the named backends require."""
    return [r for name in names for r in registry.backends[name].spec.requires]


@dataclasses.dataclass(frozen=True)
class _Distribution:
    name: str
    """Normalised, as packaging does it."""
    version: str
    source: importlib.metadata.Distribution

    @property
    def requires(self) -> list[str]:
        return self.source.requires or []

    @property
    def is_ours(self) -> bool:
        groups = {e.group for e in self.source.entry_points}
        return bool(groups & {ENTRY_POINT_GROUP, COMMANDS_GROUP})

    @property
    def owns_onnxruntime(self) -> bool:
        files = self.source.files
        if files is None:
            return self.name in _ONNXRUNTIME_WHEELS
        return any(file.parts[:2] == ("onnxruntime", "__init__.py") for file in files)

    @property
    def missing(self) -> int:
        """How many code files of its list are not there."""
        return sum(
            not Path(str(self.source.locate_file(file))).exists()
            for file in self.source.files or ()
            if file.suffix in (".py", ".so", ".pyd", ".dll", ".dylib")
        )


def _distributions() -> list[_Distribution]:
    found: dict[str, _Distribution] = {}
    for source in importlib.metadata.distributions():
        # A folder left behind by a broken uninstall has no name; the first on the path is imported.
        name = source.metadata["Name"]
        if name and source.version:
            key = str(canonicalize_name(name))
            found.setdefault(key, _Distribution(key, source.version, source))
    return list(found.values())
