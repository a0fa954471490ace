"""Tree ensembles as flat arrays of nodes, walked by all samples and trees at once.

Every tree's nodes stand in the same arrays; a leaf leads to itself. One step moves every sample in
every tree one level down, so the number of steps is the depth of the deepest tree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hal.errors import ModelError, UnsupportedError

__all__ = ["EQUAL", "GREATER", "LESS", "MEMBER", "Forest", "aggregated", "walker"]

Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]

LESS, EQUAL, GREATER, MEMBER = 1, 2, 4, 8
"""What a node's test accepts; tests are sums of the first three, or MEMBER alone."""


@dataclasses.dataclass(frozen=True, eq=False)
class Forest:
    """Nodes of all trees, in arrays of one length; `roots` has one index a tree."""

    roots: Host
    feature: Host
    threshold: Host
    test: Host
    when_true: Host
    when_false: Host
    missing_true: Host
    sets: tuple[Host, ...] = ()
    """The members of each MEMBER node, in the order of the nodes."""

    def depth(self) -> int:
        """The steps from the roots to the last leaf. Raises ModelError for a cycle."""
        front, steps = np.unique(self.roots), 0
        while True:
            after = np.unique(np.concatenate((self.when_true[front], self.when_false[front])))
            after = after[(self.when_true[after] != after) | (self.when_false[after] != after)]
            if not len(after):
                leaf = (self.when_true[front] == front) & (self.when_false[front] == front)
                return steps + int(not leaf.all())
            front, steps = after, steps + 1
            if steps > len(self.feature):
                raise ModelError("the nodes of a tree form a cycle")


def walker(forest: Forest, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The function from samples [N, F] to the leaf that each reaches in each tree, [N, trees]."""
    depth = forest.depth()
    inner = (forest.when_true != np.arange(len(forest.feature))) | (
        forest.when_false != np.arange(len(forest.feature))
    )
    features = int(forest.feature[inner].max(initial=-1)) + 1
    roots, feature, when_true, when_false = (
        torch.as_tensor(np.ascontiguousarray(a, dtype=np.int64), device=device)
        for a in (
            forest.roots,
            np.where(inner, forest.feature, 0),
            forest.when_true,
            forest.when_false,
        )
    )
    threshold = torch.as_tensor(forest.threshold, device=device)
    missing = torch.as_tensor(forest.missing_true & inner, device=device)
    any_missing = bool((forest.missing_true & inner).any())
    accepts = _test(forest, inner, threshold, device)

    def walk(x: Tensor) -> Tensor:
        if x.shape[1] < features:
            raise ValueError(f"the trees read {features} features, the input has {x.shape[1]}")
        at = roots.expand(len(x), -1)
        for _ in range(depth):
            value = x.gather(1, feature[at])
            went = accepts(value, at)
            if any_missing:
                went = torch.where(value.isnan(), missing[at], went)
            at = torch.where(went, when_true[at], when_false[at])
        return at

    return walk


def _test(
    forest: Forest, inner: Host, threshold: Tensor, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """Whether a value goes to a node's true branch; false for NaN."""
    tests = set(forest.test[inner].tolist())
    compare: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
        LESS | EQUAL: torch.le,
        LESS: torch.lt,
        GREATER | EQUAL: torch.ge,
        GREATER: torch.gt,
        EQUAL: torch.eq,
    }
    if len(tests) == 1 and (only := compare.get(*tests)) is not None:
        return lambda value, at: only(value, threshold[at])
    less, equal, greater = (
        torch.as_tensor((forest.test & bit) > 0, device=device) for bit in (LESS, EQUAL, GREATER)
    )
    member = _membership(forest, device) if MEMBER in tests else None

    def mixed(value: Tensor, at: Tensor) -> Tensor:
        limit = threshold[at]
        went = (less[at] & (value < limit)) | (equal[at] & (value == limit))
        went |= greater[at] & (value > limit)
        return went if member is None else went | member(value, at)

    return mixed


def _membership(forest: Forest, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """Whether a value is in a node's set: a bit for each pair of set and known value."""
    nodes = np.flatnonzero(forest.test == MEMBER)
    if len(nodes) != len(forest.sets):
        raise ModelError(
            f"{len(nodes)} nodes are BRANCH_MEMBER, but there are {len(forest.sets)} sets"
        )
    known = np.unique(np.concatenate([*forest.sets, np.zeros(1, forest.threshold.dtype)]))
    bits = np.zeros((len(nodes) + 1, len(known)), dtype=bool)  # the first is of no member node
    row = np.zeros(len(forest.test), dtype=np.int64)
    for index, (node, values) in enumerate(zip(nodes, forest.sets, strict=True), 1):
        row[node] = index
        bits[index, np.searchsorted(known, values)] = True
    values_, bits_, row_ = (torch.as_tensor(a, device=device) for a in (known, bits, row))

    def member(value: Tensor, at: Tensor) -> Tensor:
        place = torch.searchsorted(values_, value.contiguous()).clamp_(max=len(known) - 1)
        return bits_[row_[at], place] & (values_[place] == value)

    return member


def aggregated(
    function: str,
    nodes: int,
    leaves: Host,
    ids: Host,
    weights: Host,
    count: int,
    device: torch.device,
) -> Callable[[Tensor], Tensor]:
    """The function from reached leaves [N, trees] to sums (means, least, most) [N, count].

    `leaves`, `ids` and `weights` are entries: the leaf's node, its target, what it adds. A target
    that no entry reaches is 0. Raises UnsupportedError for no known function.
    """
    if function not in ("SUM", "AVERAGE", "MIN", "MAX"):
        raise UnsupportedError(f"aggregate_function {function!r} is none of AVERAGE, MAX, MIN, SUM")
    if len(ids) and not 0 <= ids.min() <= ids.max() < count:
        raise ModelError(f"a leaf's target is not from 0 to {count - 1}")
    order = np.argsort(leaves, kind="stable")
    leaves, ids, weights = leaves[order], ids[order], weights[order]
    entries = np.bincount(leaves, minlength=nodes)
    most = max(int(entries.max(initial=0)), 1)
    column = np.arange(len(leaves)) - (np.cumsum(entries) - entries)[leaves]
    table = np.zeros((nodes, most), dtype=weights.dtype)
    table[leaves, column] = weights
    target = np.full((nodes, most), count, dtype=np.int64)  # `count` takes what is no entry
    target[leaves, column] = ids
    weight = torch.as_tensor(table, device=device)
    reached = entries > 0
    aligned = most == count and bool((target[reached] == np.arange(count)).all())
    if aligned and function in ("SUM", "AVERAGE"):
        mean = function == "AVERAGE"

        def dense(at: Tensor) -> Tensor:
            found = weight[at]
            return found.mean(1) if mean else found.sum(1)

        return dense
    targets = torch.as_tensor(target, device=device)
    reduce = {"SUM": "sum", "AVERAGE": "sum", "MIN": "amin", "MAX": "amax"}[function]

    def scattered(at: Tensor) -> Tensor:
        into = torch.zeros(len(at), count + 1, dtype=weight.dtype, device=at.device)
        index, source = targets[at].flatten(1), weight[at].flatten(1)
        made = into.scatter_reduce_(1, index, source, reduce, include_self=reduce == "sum")
        made = made[:, :count]
        return made / at.shape[1] if function == "AVERAGE" else made

    return scattered
