"""Expectations: what a backend's author knows of its failures, kept beside the plugin and strict.

The file is TOML; docs/reading-a-score.md has its reference. It never changes an outcome or a
score, only whether a run is red.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import importlib.util
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from hal import Outcome, OutcomeClass
from hal._toml import toml_reader
from hal.errors import DataError, did_you_mean

__all__ = ["Expectation", "Expectations", "find_expectations", "parse_expectations"]

Status = Literal["unsupported", "xfail"]

_NO_FAILURE = (Outcome.PASS, Outcome.DISPUTED, Outcome.NOT_RUN)
_KEYS = ("pattern", "status", "reason", "device", "outcome", "link", "versions")


@dataclasses.dataclass(frozen=True)
class Expectation:
    """One line. `pattern` is a glob over case ids and `device` one over device ids, upper and lower
    case distinct. `outcome` narrows the line to one outcome. `versions` maps a name of
    `Device.versions` to a version specifier: outside of it the line does not apply."""

    pattern: str
    status: Status
    reason: str
    device: str = "*"
    outcome: Outcome | None = None
    link: str = ""
    versions: Mapping[str, SpecifierSet] = dataclasses.field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether the line names one case, and not those that fit a glob."""
        return not any(sign in self.pattern for sign in "*?[")

    def matches(self, case_ids: Collection[str]) -> set[str]:
        """Those of `case_ids` that the pattern fits."""
        if self.exact:
            return {self.pattern}.intersection(case_ids)
        fits = re.compile(fnmatch.translate(self.pattern)).match
        return {case_id for case_id in case_ids if fits(case_id)}

    def covers(self, outcome: Outcome) -> bool:
        """Whether this outcome is the failure that the line is about. An `unsupported` line covers
        what was not run here and nothing else, so that it never hides a wrong value."""
        if self.outcome is not None:
            return outcome is self.outcome
        if self.status == "unsupported":
            return outcome.outcome_class is OutcomeClass.NOT_HERE
        return outcome not in _NO_FAILURE

    def missing_versions(self, versions: Mapping[str, str]) -> tuple[str, ...]:
        """The names that the line asks for and the device does not report."""
        return tuple(name for name in self.versions if not versions.get(name))

    def applies_to(self, device_id: str, versions: Mapping[str, str]) -> bool:
        """Whether the line is about this device at these versions."""
        return fnmatch.fnmatchcase(device_id, self.device) and all(
            name in versions and _admits(specifier, versions[name])
            for name, specifier in self.versions.items()
        )


@dataclasses.dataclass(frozen=True)
class Expectations:
    """A backend's file. `strict`: a failure that no line covers is red too, unless the backend said
    by itself that it cannot (unsupported, skew, unfed)."""

    lines: Sequence[Expectation] = ()
    strict: bool = False
    source: str = ""

    @classmethod
    def load(cls, path: Path) -> Expectations:
        """Read a file. Raises DataError naming the file, and the line's position and pattern."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise DataError(f"{path}: not TOML: not UTF-8 text") from None
        return parse_expectations(text, str(path))

    @classmethod
    def of_plugin(cls, module: str) -> Expectations | None:
        """Those of a plugin, None if it has no file. Raises DataError like `load`."""
        path = find_expectations(module)
        return None if path is None else cls.load(path)


def find_expectations(module: str) -> Path | None:
    """A plugin's expectations file, None if it has none.

    It is `expectations.toml` in the folder of the plugin's package or, where the plugin is a single
    module `hal_x`, `hal_x.expectations.toml` beside it.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.has_location:
        return None
    name = "expectations.toml" if spec.parent else f"{module}.expectations.toml"
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None


def parse_expectations(text: str, source: str = "expectations") -> Expectations:
    """The expectations in a TOML text; `source` names it in errors. Raises DataError."""
    toml = toml_reader()
    try:
        document: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        raise DataError(f"{source}: not TOML: {error}") from None
    _refuse_unknown(source, document, ("strict", "expect"))
    strict, entries = document.get("strict", False), document.get("expect", [])
    if not isinstance(strict, bool):
        raise DataError(f"{source}: strict is true or false, not {strict!r}")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise DataError(f"{source}: a line is a table of its own, headed [[expect]]")
    lines = [_line(_place(source, i, e), e) for i, e in enumerate(entries, start=1)]
    return Expectations(tuple(lines), strict, source)


def _place(source: str, index: int, entry: Mapping[str, Any]) -> str:
    pattern = f", pattern {entry['pattern']!r}" if "pattern" in entry else ""
    return f"{source}: [[expect]] number {index}{pattern}"


def _line(place: str, entry: Mapping[str, Any]) -> Expectation:
    _refuse_unknown(place, entry, _KEYS)
    for key in ("pattern", "status", "reason"):
        if key not in entry:
            raise DataError(f"{place}: {key} is missing")
    for key, value in entry.items():
        if key != "versions" and not (isinstance(value, str) and value.strip()):
            raise DataError(f"{place}: {key} is a text that is not empty, not {value!r}")
    status = entry["status"]
    if status not in get_args(Status):
        raise DataError(f"{place}: status is 'unsupported' or 'xfail', not {status!r}")
    return Expectation(
        pattern=entry["pattern"],
        status=status,
        reason=entry["reason"],
        device=entry.get("device", "*"),
        outcome=_outcome(place, status, entry.get("outcome")),
        link=entry.get("link", ""),
        versions=_versions(place, entry.get("versions", {})),
    )


def _outcome(place: str, status: Status, name: str | None) -> Outcome | None:
    if name is None:
        return None
    allowed = [
        o.value
        for o in Outcome
        if o not in _NO_FAILURE and (status == "xfail" or o.outcome_class is OutcomeClass.NOT_HERE)
    ]
    if name not in allowed:
        raise DataError(
            f"{place}: outcome of an {status!r} line is one of {', '.join(allowed)}, not {name!r}"
        )
    return Outcome(name)


def _versions(place: str, entry: object) -> dict[str, SpecifierSet]:
    if not isinstance(entry, dict):
        raise DataError(f'{place}: versions is a table such as {{ onnxruntime = "<1.32" }}')
    versions = {}
    for name, text in entry.items():
        try:
            versions[name] = SpecifierSet(text)
        except (InvalidSpecifier, AttributeError, TypeError):
            raise DataError(f"{place}: {text!r} is no version range of {name}") from None
    return versions


def _refuse_unknown(place: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise DataError(f"{place}: there is no key {key!r}.{did_you_mean(key, known)}")


def _admits(specifier: SpecifierSet, text: str) -> bool:
    try:
        version = Version(text)
    except InvalidVersion:
        # Drivers and SDKs append builds and hashes; the numbers in front are what ranges are about.
        release = re.match(r"\D*?(\d+(?:\.\d+)*)", text)
        if release is None:
            return False
        version = Version(release[1])
    return specifier.contains(version, prereleases=True)
