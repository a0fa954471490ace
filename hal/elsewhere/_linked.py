"""hal and a plugin in another environment: links to where they are installed here.

A link follows an editable checkout and an upgrade alike, so that both ends of a host are of one
version, and it needs no build tool over there. Where links cannot be made the files are copied.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import hal

__all__ = ["link_distributions", "sources_of"]

_SKIP = shutil.ignore_patterns("__pycache__")


def link_distributions(packages: Path, plugin: str, modules: Iterable[str]) -> None:
    """Put hal and the distribution `plugin`, which brings `modules`, into the folder `packages` of
    another environment. Raises OSError."""
    for source in [Path(hal.__file__).parent, *sources_of(plugin, modules)]:
        _link(source, packages / source.name)
    for name in ("hal-core", plugin):
        with suppress(importlib.metadata.PackageNotFoundError):
            _describe(packages, importlib.metadata.distribution(name))


def sources_of(plugin: str, modules: Iterable[str]) -> list[Path]:
    """The packages and modules that a distribution brings, as they lie on this disk: all in its
    list of files, or, of an editable install, those named."""
    tops = {module.partition(".")[0] for module in modules}
    with suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution(plugin)
        if not _editable(distribution):
            tops |= set(_tops(distribution))
    return [source for top in sorted(tops) if (source := _location(top)) is not None]


def _tops(distribution: importlib.metadata.Distribution) -> Iterator[str]:
    for file in distribution.files or ():
        top = file.parts[0]
        if file.suffix == ".py" and top not in ("..", "__pycache__"):
            yield top.removesuffix(".py")


def _editable(distribution: importlib.metadata.Distribution) -> bool:
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(direct.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def _location(top: str) -> Path | None:
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.has_location and spec.origin else None


def _link(source: Path, target: Path) -> None:
    _clear(target)
    try:
        target.symlink_to(source.absolute(), target_is_directory=source.is_dir())
    except (OSError, NotImplementedError):  # a file system or an account without links
        if source.is_dir():
            shutil.copytree(source, target, ignore=_SKIP)
        else:
            shutil.copy2(source, target)


def _describe(packages: Path, distribution: importlib.metadata.Distribution) -> None:
    """The name, version and entry points, so that the other side can tell what it has."""
    stem = distribution.name.replace("-", "_")
    for old in packages.glob(f"{stem}-*.dist-info"):
        _clear(old)
    folder = packages / f"{stem}-{distribution.version}.dist-info"
    folder.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        text = distribution.read_text(name)
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")


def _clear(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
