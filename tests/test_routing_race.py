"""The race: rounds until one is ahead by more than the noise, or the time is up."""

from __future__ import annotations

import math
import time

import pytest

from hal.routing._race import NOISE, Race


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hal.timing.time.sleep", lambda seconds: None)


def race(**blocks: list[float]) -> tuple[Race, bool]:
    """A race of candidates that give these medians, the last one for ever."""
    left = {name: list(times) for name, times in blocks.items()}

    def block(name: str) -> float:
        times = left[name]
        return times.pop(0) if len(times) > 1 else times[0]

    made = Race(
        {n: (lambda n=n: block(n), 0.0) for n in blocks},  # type: ignore[misc]
        time.monotonic() + 60,
    )
    return made, made.run()


def test_a_clear_winner_takes_three_rounds() -> None:
    made, clear = race(a=[1.0], b=[1.5], c=[3.0])
    assert clear and [len(made.blocks(n)) for n in "abc"] == [3, 3, 3]


def test_within_the_noise_it_goes_on_to_seven() -> None:
    made, clear = race(a=[1.0], b=[NOISE - 0.01], c=[3.0])
    assert not clear
    assert [len(made.blocks(n)) for n in "abc"] == [7, 7, 3], "who is out is not timed again"


def test_overlapping_blocks_are_no_finding() -> None:
    _, clear = race(a=[1.0, 1.0, 1.3], b=[1.2])
    assert not clear
    _, clear = race(a=[1.0, 1.0, 1.1], b=[1.2])
    assert clear


def test_a_failure_is_never_ahead() -> None:
    made, clear = race(a=[0.1, 0.1, math.inf], b=[1.0])
    assert clear and made.blocks("b") == (1.0, 1.0, 1.0)
    _, clear = race(a=[0.1, math.inf], b=[math.inf])
    assert not clear


def test_without_time_for_a_round_nothing_is_timed() -> None:
    slow = Race({"a": (lambda: 1.0, 10.0), "b": (lambda: 1.0, 10.0)}, time.monotonic() + 1)
    assert not slow.run() and slow.blocks("a") == ()
    alone = Race({"a": (lambda: 1.0, 10.0)}, time.monotonic() + 1)
    assert alone.run() and len(alone.blocks("a")) == 1
