"""`hal compare` of what `--speed` measured: ratios, and which of them are beyond their spread."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hal_conformance.compare_speed import MeasuredChange, compare_speed
from hal_conformance.report import Report, SpeedReport, write
from made_up import device_report, facts, speed_report

from hal import Outcome
from hal.cli import main

RELU, CONV = "float[1,64,56,56]", "float[1,64,56,56], float[64,64,3,3]"


def slowed(speed: SpeedReport, operator: str, blocks: tuple[float, ...]) -> SpeedReport:
    entries = tuple(
        dataclasses.replace(e, blocks=blocks) if e.operator == operator else e
        for e in speed.entries
    )
    return dataclasses.replace(speed, entries=entries)


def test_a_ratio_within_the_stated_spread_is_no_finding() -> None:
    old = speed_report()
    new = slowed(old, "Conv", (2e-3, 3e-3, 3.1e-3))
    found = compare_speed(old, new, 1.12)
    assert found and found.compared == 2
    assert found.slower == found.faster == ()
    assert found.mean == pytest.approx(1.5**0.5)


def test_a_ratio_beyond_spread_and_noise_is_one() -> None:
    old = speed_report()
    new = slowed(old, "Conv", (2.9e-3, 3e-3, 3.1e-3))
    spread = 3.1e-3 / 2.9e-3
    found, back = compare_speed(old, new, 1.12), compare_speed(new, old, 1.12)
    assert found and back
    assert found.slower == (MeasuredChange("Conv", CONV, pytest.approx(1.5), spread),)
    assert back.faster == (MeasuredChange("Conv", CONV, pytest.approx(1 / 1.5), spread),)
    assert found.faster == back.slower == ()
    quiet = compare_speed(old, new, 2.0)
    assert quiet and quiet.slower == ()


def test_an_emulator_and_a_report_without_times_are_not_compared() -> None:
    real, emulated = speed_report(), speed_report(emulated=True)
    assert compare_speed(real, emulated, 1.12) is None
    assert compare_speed(None, real, 1.12) is None
    nothing = dataclasses.replace(real, entries=real.entries[2:])
    assert compare_speed(real, nothing, 1.12) is None


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = device_report("made:npu", facts(3), lambda i: Outcome.PASS)
    files = []
    for name, scale in (("old", 1.0), ("new", 2.0)):
        files.append(str(tmp_path / f"{name}.json"))
        report = Report((dataclasses.replace(one, speed=speed_report(scale)),))
        write(report, Path(files[-1]))
    assert main(["compare", *files]) == 0
    said = capsys.readouterr().out
    assert "2 sizes timed in both, 2.00 times as long as then" in said
    assert "measured slower: 2" in said and RELU in said
    assert main(["compare", "--json", *files]) == 0
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert {c["operator"] for c in device["speed"]["slower"]} == {"Relu", "Conv"}
    assert device["speed"]["compared"] == 2 and device["speed"]["faster"] == []
