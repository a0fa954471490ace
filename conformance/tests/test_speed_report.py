"""The speed section: what follows from the times, and its JSON."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hal_conformance._speed_text import percent
from hal_conformance.report import Ceiling, Report, SpeedEntry, SpeedReport, from_json, to_json
from made_up import device_report, facts, speed_report

from hal import Outcome
from hal.errors import DataError

CEILINGS = (
    Ceiling("matmul", "MatMul", 12, 1e11, 1.1),
    Ceiling("matmul", "MatMul", 48, 2e11, 1.1),
    Ceiling("copy", "Neg", 1000, 4e10, 1.0),
    Ceiling("copy", "Neg", 1_000_000, 1e10, 1.0),
)
ENTRY = SpeedEntry("Relu", "float[250]", 7, False, 1e6, 2000, (2e-6, 1e-6, 4e-6))


def report(speed: SpeedReport) -> Report:
    one = device_report("made:npu", facts(3), lambda i: Outcome.PASS)
    return Report((dataclasses.replace(one, speed=speed),))


def test_rates_and_shares_follow_from_the_median_block() -> None:
    speed = SpeedReport(1, (ENTRY,), CEILINGS)
    assert (ENTRY.seconds, ENTRY.spread) == (2e-6, 4.0)
    assert (ENTRY.operation_rate, ENTRY.byte_rate) == (5e11, 1e9)
    assert speed.shares(ENTRY) == (2.5, 0.1)
    assert speed.share(ENTRY) == 2.5


@pytest.mark.parametrize(
    ("size", "rate"), [(0, 4e10), (1000, 4e10), (1001, 1e10), (10_000_000, 1e10)]
)
def test_a_copy_is_held_against_copies_that_no_smaller_cache_holds(size: int, rate: float) -> None:
    assert SpeedReport(0, (), CEILINGS).ceiling("copy", size) == rate


def test_an_emulator_has_neither_ceiling_nor_ratio() -> None:
    entry = dataclasses.replace(ENTRY, reference=(1e-6,) * 3)
    assert SpeedReport(1, (entry,), CEILINGS).ratio(entry) == 0.5
    emulated = SpeedReport(1, (entry,), (), emulated=True)
    assert emulated.ratio(entry) is None
    assert emulated.shares(entry) == (None, None)
    assert emulated.share(entry) is None


def test_what_has_no_time_has_no_rate() -> None:
    entry = dataclasses.replace(ENTRY, blocks=(), reason="unsupported")
    speed = SpeedReport(1, (entry,), CEILINGS)
    assert (entry.seconds, entry.spread, entry.byte_rate) == (None, None, None)
    assert speed.share(entry) is None
    assert speed.timed == ()
    assert speed.complete


def test_it_is_written_read_again_and_fits_the_schema() -> None:
    whole = report(speed_report())
    data = json.loads(json.dumps(to_json(whole)))
    assert from_json(data) == whole
    schema = resources.files("hal_conformance").joinpath("report.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator(json.loads(schema)).validate(data)
    relu = data["reports"][0]["speed"]["entries"][0]
    assert relu["median_seconds"] > 0 and relu["of_copy"] > 0


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("entries", 0, "blocks"), [0.0], "not over 0"),
        (("entries", 0, "blocks"), ["1"], "no int or float"),
        (("entries", 0, "memory"), 1.5, "'memory'"),
        (("entries", 0, "operations"), None, "'operations'"),
        (("ceilings", 0, "rate"), "fast", "'rate'"),
        (("emulated",), 1, "'emulated'"),
        (("entries",), {}, "'entries'"),
    ],
)
def test_a_wrong_section_names_its_place(path: tuple[Any, ...], value: Any, said: str) -> None:
    data = json.loads(json.dumps(to_json(report(speed_report()))))
    place = data["reports"][0]["speed"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DataError, match=said):
        from_json(data)


@pytest.mark.parametrize(
    ("share", "text"), [(None, ""), (0.012, "1.2 %"), (1.04, "104 %"), (66.4, "> 150 %")]
)
def test_a_share_that_nothing_can_reach_is_no_number(share: float | None, text: str) -> None:
    assert percent(share) == text
