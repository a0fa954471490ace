"""The blocks of hal.timing: what is called, in which order, and what is kept."""

from __future__ import annotations

import time

import pytest

from hal.timing import CALLS, DISCARDED, ROUNDS, Timing, run_blocks, settled, time_blocks


def test_timing_blocks_and_orders() -> None:
    calls: list[str] = []
    candidates = {name: (lambda name=name: calls.append(name)) for name in "abcd"}
    result = time_blocks(candidates, rounds=4, calls=6, pause=0)
    assert list(result) == list("abcd")
    assert all(len(t.blocks) == 4 and t.median > 0 for t in result.values())
    size = DISCARDED + 6
    blocks = [calls[i : i + size] for i in range(0, len(calls), size)]
    assert all(len(set(block)) == 1 for block in blocks) and len(blocks) == 16
    orders = ["".join(b[0] for b in blocks[i : i + 4]) for i in range(0, 16, 4)]
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 1

    first = list(calls)
    calls.clear()
    time_blocks(candidates, rounds=4, calls=6, pause=0)
    assert calls == first
    calls.clear()
    time_blocks(candidates, rounds=4, calls=6, pause=0, seed=1)
    assert calls != first


def test_timing_keeps_the_median_of_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two calls that do not count, then five: 9, 1, 2, 3, 8 seconds in the first of three blocks.
    durations = iter(
        [100, 100, 9, 1, 2, 3, 8, *[100, 100, 4, 4, 4, 4, 4], *[100, 100, 2, 2, 2, 2, 2]]
    )
    now = [0.0]
    slept: list[float] = []

    def call() -> None:
        now[0] += next(durations)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    timing = time_blocks({"x": call})["x"]
    assert timing == Timing((3, 4, 2))
    assert timing.median == 3 and timing.spread == 2
    assert slept == [0.1, 0.1, 0.1]


@pytest.mark.parametrize(("rounds", "calls"), [(ROUNDS - 1, CALLS), (ROUNDS, CALLS - 1)])
def test_timing_refuses_too_few(rounds: int, calls: int) -> None:
    with pytest.raises(ValueError, match="at least 3 rounds of 5 calls"):
        time_blocks({"x": int}, rounds=rounds, calls=calls)


def test_timing_lets_errors_through() -> None:
    with pytest.raises(ZeroDivisionError):
        time_blocks({"x": lambda: 1 // 0}, pause=0)


def test_timing_goes_on_until_the_median_is_settled() -> None:
    calm, wild = iter([3.0, 1.0, 1.0, 1.0, 1.0]), iter([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    found = run_blocks({"calm": lambda: next(calm), "wild": lambda: next(wild)}, most=6, pause=0)
    assert found["calm"].blocks == (3.0, 1.0, 1.0, 1.0, 1.0)
    assert len(found["wild"].blocks) == 6


@pytest.mark.parametrize(
    ("blocks", "is_so"),
    [
        ((1.0,), True),
        ((1.0, 1.02), True),
        ((1.0, 1.2, 1.0), False),  # without the last it was 1.1
        ((1.0, 1.0, 1.2), True),
        ((0.0, 0.0, 0.0), True),
    ],
)
def test_timing_settled(blocks: tuple[float, ...], is_so: bool) -> None:
    assert settled(blocks) is is_so
