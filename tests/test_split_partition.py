"""The partition: as few parts as brute force finds, each convex and for a device that takes it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.split._partition import Problem, Segment, partition


@st.composite
def problems(draw: st.DrawFn, most: int = 9, devices: int = 3) -> Problem:
    count = draw(st.integers(1, most))
    before = [
        tuple(sorted(draw(st.sets(st.integers(0, node - 1), max_size=3)))) if node else ()
        for node in range(count)
    ]
    kinds = st.frozensets(st.integers(0, devices - 1), min_size=1)
    able = [draw(kinds) for _ in range(count)]
    costs = draw(st.lists(st.integers(1, 9), min_size=devices, max_size=devices))
    move = draw(st.integers(0, 5))
    return Problem(
        before, able, lambda node, device: costs[device] + node % 2, lambda g, r, a, b: move
    )


def fewest(problem: Problem) -> int:
    """By trying every order in which nodes can run, and every device for each."""
    count = len(problem.before)

    @functools.cache
    def further(done: int, device: int) -> int:
        if done == (1 << count) - 1:
            return 0
        best = count + 1
        for node in range(count):
            ready = all(done >> giver & 1 for giver in problem.before[node])
            if done >> node & 1 or not ready:
                continue
            for other in problem.able[node]:
                best = min(best, (other != device) + further(done | 1 << node, other))
        return best

    return further(0, -1)


def check(problem: Problem, parts: Sequence[Segment]) -> None:
    place = {node: at for at, part in enumerate(parts) for node in part.nodes}
    assert sorted(n for part in parts for n in part.nodes) == list(range(len(problem.before)))
    for part in parts:
        assert part.nodes, "no part is empty"
        assert all(part.device in problem.able[node] for node in part.nodes)
    # Nodes read from their own part and earlier ones alone: so no path leaves a part and comes
    # back (each is convex), and no two parts wait for each other.
    for node, givers in enumerate(problem.before):
        assert all(place[giver] <= place[node] for giver in givers)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(problems())
def test_as_few_parts_as_brute_force_finds(problem):
    parts = partition(problem)
    check(problem, parts)
    assert len(parts) == fewest(problem)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(problems(most=60, devices=5))
def test_larger_graphs_are_whole_and_in_order(problem):
    check(problem, partition(problem))


def test_costs_choose_among_as_few_parts():
    # 0 and 1 can run on both devices, 2 on the second alone: one part of it is the fewest.
    both = frozenset({0, 1})
    chain = [(), (0,), (1,)]
    assert [p.device for p in partition(Problem(chain, [both, both, frozenset({1})]))] == [1]
    # 1 runs on the first device alone; 0 and 2 on either of two others, of which one is cheap.
    able = [frozenset({1, 2}), frozenset({0}), frozenset({1, 2})]
    price = [1.0, 9.0, 2.0]
    found = partition(Problem(chain, able, lambda node, device: price[device]))
    assert [p.device for p in found] == [2, 0, 2]
    # 1 and 2 may stand before or after the cut; where little crosses it is best.
    chain = [(), (0,), (1,), (2,)]
    able = [frozenset({0}), both, both, frozenset({1})]
    wide = {(0, 1): 9.0, (1, 2): 1.0, (2, 3): 5.0}
    found = partition(Problem(chain, able, transfer=lambda g, r, a, b: wide[g, r]))
    assert [p.nodes for p in found] == [(0, 1), (2, 3)]


def test_a_node_that_nothing_takes():
    with pytest.raises(ValueError, match="node 1"):
        partition(Problem([(), (0,)], [frozenset({0}), frozenset()]))
    assert partition(Problem([], [])) == []


def test_a_long_chain_alternates():
    count = 400
    chain = [(node - 1,) if node else () for node in range(count)]
    found = partition(Problem(chain, [frozenset({node % 2}) for node in range(count)]))
    assert [p.nodes for p in found] == [(node,) for node in range(count)]
