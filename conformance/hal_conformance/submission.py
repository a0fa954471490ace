"""A submission: a folder with a report and what it takes to check it (`hal.submission/1`).

submission.json          what follows, with a digest of each file
report.json              the report
logs/<device>.jsonl      the sealed lines that the run wrote, see `hal_conformance.journal`
expectations/<name>.toml the backend's expectations, where it has some
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hal.errors import DataError, OutputError, UsageError
from hal.plugins import Registry
from hal_conformance._files import make_folder, write_text
from hal_conformance.expectations import find_expectations
from hal_conformance.journal import Journal, Log, read_log
from hal_conformance.report import Report, read, write

__all__ = [
    "MANIFEST",
    "REPORT",
    "SCHEMA",
    "Part",
    "Submission",
    "check_submission",
    "read_submission",
    "write_submission",
]

SCHEMA = "hal.submission/1"
MANIFEST = "submission.json"
REPORT = "report.json"


@dataclasses.dataclass(frozen=True)
class Part:
    """What belongs to one device of the report. `seal` is that of the log's last line;
    `expectations` is a text, None where the backend has no file."""

    device: str
    seal: str
    log: Log
    expectations: str | None


@dataclasses.dataclass(frozen=True)
class Submission:
    """A folder as it was read. `altered` names the files that are not those of the manifest."""

    report: Report
    parts: Mapping[str, Part]
    altered: tuple[str, ...]


def check_submission(folder: Path, patterns: Sequence[str]) -> None:
    """Make the folder, before anything runs. Raises UsageError where it is not empty or only a part
    of a suite is to be run, OutputError where it cannot be written."""
    if patterns:
        raise UsageError(
            "a submission is of a whole suite or a profile, and -k takes a part",
            next_step="leave out -k, or --submission",
        )
    make_folder(folder)


def write_submission(
    folder: Path, report: Report, journals: Sequence[Journal], registry: Registry
) -> None:
    """Fill an empty folder with a complete report and the journals of its devices. The manifest
    comes last: a folder without one is no submission. Raises OutputError where the folder cannot be
    written or a journal is not whole."""
    files: dict[str, str] = {}
    devices = []
    for journal in journals:
        if journal.problem:
            raise OutputError(f"no submission without a log: {journal.problem}")
        name = re.sub(r"[^\w.-]", "-", journal.device.id)
        try:
            text = journal.text()
            path = find_expectations(registry.backends[journal.device.backend].module)
            listed = None if path is None else path.read_text(encoding="utf-8")
        except OSError as error:
            raise OutputError(f"no submission: {error.filename}: {error.strerror}") from None
        files[f"logs/{name}.jsonl"] = text
        row = {
            "device": journal.device.id,
            "log": f"logs/{name}.jsonl",
            "seal": read_log(text).seal,
        }
        if listed is not None:
            row["expectations"] = f"expectations/{journal.device.backend}.toml"
            files[row["expectations"]] = listed
        devices.append(row)
    try:
        write(report, folder / REPORT)
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_text(folder / name, text)
    except OSError as error:
        raise OutputError(f"cannot write {error.filename}: {error.strerror}") from None
    digests = {name: _digest(folder / name) for name in (REPORT, *files)}
    document = {"schema": SCHEMA, "files": digests, "devices": devices}
    write_text(folder / MANIFEST, json.dumps(document, indent=1) + "\n")


def read_submission(folder: Path) -> Submission:
    """Read a folder. Raises DataError, naming the file, where it is none or lacks a file."""
    manifest = _manifest(folder)
    parts = {}
    for row in manifest["devices"]:
        listed = row.get("expectations")
        parts[str(row["device"])] = Part(
            str(row["device"]),
            str(row["seal"]),
            read_log(_read(folder, row["log"])),
            None if listed is None else _read(folder, listed),
        )
    altered = tuple(n for n, d in manifest["files"].items() if _digest(_inside(folder, n)) != d)
    return Submission(read(_inside(folder, REPORT)), parts, altered)


def _manifest(folder: Path) -> Any:
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{folder} is no submission: {MANIFEST}: {error.strerror}",
            next_step="hal conformance -d DEVICE --submission DIR",
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise DataError(f"{path}: its schema is {schema!r}, this HAL reads {SCHEMA!r}")
    files, devices = data.get("files"), data.get("devices")
    if not (isinstance(files, dict) and isinstance(devices, list)) or not all(
        isinstance(row, dict) and {"device", "log", "seal"} <= row.keys() for row in devices
    ):
        raise DataError(f"{path}: 'files' is no table, or a device lacks its log or seal")
    named = {row[key] for row in devices for key in ("log", "expectations") if key in row}
    unlisted = {REPORT, *map(str, named)} - files.keys()
    if unlisted:
        raise DataError(f"{path}: 'files' has no digest of {', '.join(sorted(unlisted))}")
    return data


def _read(folder: Path, name: object) -> str:
    path = _inside(folder, name)
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _inside(folder: Path, name: object) -> Path:
    """The file of that name; one that leads out of the folder is refused."""
    path = folder / str(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{folder / MANIFEST}: {name!r} leads out of the folder")
    return path


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
