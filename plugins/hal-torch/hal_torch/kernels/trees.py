"""ai.onnx.ml's tree ensembles, all versions; `_forest` has the walk.

Sums are of the type of the weights: double where the model gives doubles. What the standard leaves
open for a classifier (two labels with one class's weights, one label) is as onnxruntime does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hal.errors import ModelError, UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._forest import (
    EQUAL,
    GREATER,
    LESS,
    MEMBER,
    Forest,
    aggregated,
    walker,
)
from hal_torch.kernels._ml_scores import DOMAIN, SHOWN, finished, labeller, plain_float, transform

__all__ = ["table"]

table = KernelTable()
Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]

MODES = {
    "BRANCH_LEQ": LESS | EQUAL,
    "BRANCH_LT": LESS,
    "BRANCH_GTE": GREATER | EQUAL,
    "BRANCH_GT": GREATER,
    "BRANCH_EQ": EQUAL,
    "BRANCH_NEQ": LESS | GREATER,
    "LEAF": 0,
}
CODES = np.array([LESS | EQUAL, LESS, GREATER | EQUAL, GREATER, EQUAL, LESS | GREATER, MEMBER])
"""The tests of TreeEnsemble's nodes_modes, by number."""

NODES = (
    "base_values",
    "base_values_as_tensor",
    "nodes_falsenodeids",
    "nodes_featureids",
    "nodes_hitrates",
    "nodes_hitrates_as_tensor",
    "nodes_missing_value_tracks_true",
    "nodes_modes",
    "nodes_nodeids",
    "nodes_treeids",
    "nodes_truenodeids",
    "nodes_values",
    "nodes_values_as_tensor",
    "post_transform",
)


def _weights(
    kind: str,
) -> tuple[str, ...]:
    ids = ("ids", "nodeids", "treeids", "weights", "weights_as_tensor")
    return tuple(f"{kind}_{name}" for name in ids)


def _numbers(node: NodeInfo, name: str) -> Host:
    """An attribute of floats, or its `_as_tensor` twin."""
    twin = node.attributes.get(f"{name}_as_tensor")
    if twin is not None:
        found: Host = twin.cpu().numpy().reshape(-1)
        return found
    return np.array(node.attributes.get(name) or (), dtype=np.float32)


def _ints(node: NodeInfo, name: str, length: int = -1) -> Host:
    values = np.array(node.attributes.get(name) or (), dtype=np.int64)
    if length >= 0 and len(values) != length:
        raise ModelError(f"{name} has {len(values)} elements, expected {length}")
    return values


class _Places:
    """Where a pair of tree and node ids stands in the node arrays."""

    def __init__(self, trees: Host, ids: Host) -> None:
        self._least = int(ids.min(initial=0))
        self._span = int(ids.max(initial=0)) - self._least + 1
        keys = self._keys(trees, ids)
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]
        if len(np.unique(keys)) != len(keys):
            raise ModelError("two nodes have the same tree and node id")

    def _keys(self, trees: Host, ids: Host) -> Host:
        keys: Host = trees * self._span + (ids - self._least)
        return keys

    def find(self, trees: Host, ids: Host) -> Host:
        """The places. Raises ModelError for a pair that is no node."""
        inside = (ids >= self._least) & (ids < self._least + self._span)
        keys = self._keys(trees, ids)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        if not (inside & (self._sorted[at] == keys)).all():
            raise ModelError("a tree and node id is of no node")
        found: Host = self._order[at]
        return found


def _forest(node: NodeInfo) -> tuple[Forest, _Places]:
    """The forest of a TreeEnsembleClassifier or TreeEnsembleRegressor."""
    modes = tuple(node.attributes.get("nodes_modes") or ())
    size = len(modes)
    if not size:
        raise ModelError("it has no nodes")
    for mode in sorted(set(modes) - set(MODES)):
        raise UnsupportedError(f"nodes_modes has {mode!r}, which is none of {', '.join(MODES)}")
    test = np.array([MODES[m] for m in modes], dtype=np.int64)
    trees = _ints(node, "nodes_treeids", size)
    places = _Places(trees, _ints(node, "nodes_nodeids", size))
    inner = test != 0
    branches = []
    for name in ("nodes_truenodeids", "nodes_falsenodeids"):
        branch = np.arange(size)
        branch[inner] = places.find(trees[inner], _ints(node, name, size)[inner])
        branches.append(branch)
    missing = _ints(node, "nodes_missing_value_tracks_true")
    _, roots = np.unique(trees, return_index=True)
    threshold = _numbers(node, "nodes_values")
    if len(threshold) != size:
        raise ModelError(f"nodes_values has {len(threshold)} elements, expected {size}")
    forest = Forest(
        roots=roots,
        feature=_ints(node, "nodes_featureids", size),
        threshold=threshold,
        test=test,
        when_true=branches[0],
        when_false=branches[1],
        missing_true=missing > 0 if len(missing) == size else np.zeros(size, dtype=bool),
    )
    return forest, places


def _sums(node: NodeInfo, kind: str, count: int, function: str) -> Callable[[Tensor], Tensor]:
    """From samples to the aggregated weights [N, count] of a classifier or regressor."""
    forest, places = _forest(node)
    ids = _ints(node, f"{kind}_ids")
    weights = _numbers(node, f"{kind}_weights")
    if len(weights) != len(ids):
        raise ModelError(f"{kind}_weights has {len(weights)} elements, expected {len(ids)}")
    trees = _ints(node, f"{kind}_treeids", len(ids))
    leaves = places.find(trees, _ints(node, f"{kind}_nodeids", len(ids)))
    device = node.arrays.device
    walk = walker(forest, device)
    add = aggregated(function, len(forest.feature), leaves, ids, weights, count, device)
    wide = forest.threshold.dtype == np.float64

    def run(x: Tensor) -> Tensor:
        x = plain_float(x if x.dim() > 1 else x.unsqueeze(0))
        return add(walk(x.double() if wide else x))

    return run


def _base(node: NodeInfo) -> Tensor:
    return torch.as_tensor(_numbers(node, "base_values"), device=node.arrays.device)


@table.specialized(
    "TreeEnsembleRegressor",
    1,
    3,
    domain=DOMAIN,
    attributes=(*NODES, *_weights("target"), "aggregate_function", "n_targets"),
)
def tree_ensemble_regressor(node: NodeInfo) -> Callable[[Tensor], Tensor]:
    name = str(node.attributes.get("post_transform", "NONE"))
    transform(name)
    count = int(node.attributes.get("n_targets") or _ints(node, "target_ids").max(initial=0) + 1)
    sums = _sums(node, "target", count, str(node.attributes.get("aggregate_function", "SUM")))
    base = _base(node)

    def run(x: Tensor) -> Tensor:
        scores = sums(x)
        if base.numel():
            scores = scores + base.to(scores.dtype)
        return finished(scores, name)

    return run


@table.specialized(
    "TreeEnsembleClassifier",
    1,
    3,
    domain=DOMAIN,
    attributes=(*NODES, *_weights("class"), "classlabels_int64s", "classlabels_strings"),
)
def tree_ensemble_classifier(node: NodeInfo) -> Callable[[Tensor], Any]:
    name = str(node.attributes.get("post_transform", "NONE"))
    transform(name)
    count, labels = labeller(node, "classlabels_int64s")
    ids = _ints(node, "class_ids")
    count = max(count, 1)
    sums = _sums(node, "class", count, "SUM")
    base = _base(node)
    one = len(np.unique(ids)) == 1
    positive = bool((_numbers(node, "class_weights") >= 0).all())

    def many(x: Tensor) -> Any:
        scores = sums(x)
        if base.numel():
            scores = scores + base.to(scores.dtype)
        return labels(scores.argmax(1)), finished(scores, name)

    def binary(x: Tensor) -> Any:
        """One class's weights decide between two labels."""
        scores = sums(x)[:, int(ids[0])].unsqueeze(1)
        if base.numel():
            scores = scores + base[-1].to(scores.dtype)
        chosen = scores[:, 0] > (0.5 if positive else 0.0)
        return labels(chosen.to(torch.int64)), finished(scores, name, 0 if positive else 2)

    def single(x: Tensor) -> Any:
        """With one label there are two answers: 1 where its score is positive, else 0."""
        scores = sums(x)
        if base.numel():
            scores = scores + base.to(scores.dtype)
        return (scores[:, 0] > 0).to(torch.int64), finished(scores, name, SHOWN)

    if count == 1:
        if node.attributes.get("classlabels_strings"):
            raise UnsupportedError("one label of type string leaves the other one without a name")
        return single
    return binary if count == 2 and one else many


@table.specialized(
    "TreeEnsemble",
    5,
    domain=DOMAIN,
    attributes=(
        "aggregate_function",
        "leaf_targetids",
        "leaf_weights",
        "membership_values",
        "n_targets",
        "nodes_falseleafs",
        "nodes_falsenodeids",
        "nodes_featureids",
        "nodes_hitrates",
        "nodes_missing_value_tracks_true",
        "nodes_modes",
        "nodes_splits",
        "nodes_trueleafs",
        "nodes_truenodeids",
        "post_transform",
        "tree_roots",
    ),
)
def tree_ensemble(node: NodeInfo) -> Callable[[Tensor], Tensor]:
    """Leaves stand behind the inner nodes in the arrays of the forest."""
    names = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
    functions = ("AVERAGE", "SUM", "MIN", "MAX")
    name = _chosen(names, node.attributes.get("post_transform", 0), "post_transform")
    function = _chosen(
        functions, node.attributes.get("aggregate_function", 1), "aggregate_function"
    )
    feature = _ints(node, "nodes_featureids")
    size = len(feature)
    codes = _array(node, "nodes_modes").astype(np.int64)
    if len(codes) != size or (size and not 0 <= codes.min() <= codes.max() < len(CODES)):
        raise ModelError(f"nodes_modes is not {size} numbers from 0 to {len(CODES) - 1}")
    weights = _array(node, "leaf_weights")
    ids = _ints(node, "leaf_targetids", len(weights))
    splits = _array(node, "nodes_splits")
    if len(splits) != size:
        raise ModelError(f"nodes_splits has {len(splits)} elements, expected {size}")
    leaf = np.arange(size, size + len(weights))
    branches = []
    for side in ("true", "false"):
        to = _ints(node, f"nodes_{side}nodeids", size)
        to = to + size * (_ints(node, f"nodes_{side}leafs", size) != 0)
        if size and not 0 <= to.min() <= to.max() < size + len(weights):
            raise ModelError(f"nodes_{side}nodeids has a number of no node and no leaf")
        branches.append(np.concatenate((to, leaf)))
    roots = _ints(node, "tree_roots")
    if not len(roots) or not 0 <= roots.min() <= roots.max() < size:
        raise ModelError("tree_roots has a number of no node")
    missing = _ints(node, "nodes_missing_value_tracks_true")
    missing = missing > 0 if len(missing) == size else np.zeros(size, dtype=bool)
    none = np.zeros(len(weights), dtype=np.int64)
    compute = np.float64 if splits.dtype == np.float64 else np.float32
    forest = Forest(
        roots=roots,
        feature=np.concatenate((feature, none)),
        threshold=np.concatenate((splits, none)).astype(compute),
        test=np.concatenate((CODES[codes], none)),
        when_true=branches[0],
        when_false=branches[1],
        missing_true=np.concatenate((missing, none > 0)),
        sets=_sets(_array(node, "membership_values").astype(compute)),
    )
    device = node.arrays.device
    walk = walker(forest, device)
    count = int(node.attributes.get("n_targets") or ids.max(initial=0) + 1)
    weights = weights.astype(compute)
    add = aggregated(function, len(forest.feature), leaf, ids, weights, count, device)
    post = transform(name)

    def run(x: Tensor) -> Tensor:
        rows = x if x.dim() > 1 else x.unsqueeze(0)
        rows = rows.to(torch.float64 if compute is np.float64 else torch.float32)
        return post(add(walk(rows))).to(x.dtype)

    return run


def _chosen(names: tuple[str, ...], number: int, what: str) -> str:
    if not 0 <= number < len(names):
        raise UnsupportedError(f"{what} {number} is none of 0 to {len(names) - 1}")
    return names[number]


def _array(node: NodeInfo, name: str) -> Host:
    value = node.attributes.get(name)
    if value is None:
        return np.zeros(0, dtype=np.float32)
    found: Host = value.cpu().numpy().reshape(-1)
    return found


def _sets(values: Host) -> tuple[Host, ...]:
    """The sets of `membership_values`: a NaN ends each."""
    ends = np.flatnonzero(np.isnan(values))
    starts = np.concatenate((np.zeros(1, dtype=np.int64), ends + 1))
    sets = [values[a:b] for a, b in zip(starts[:-1], ends, strict=True)]
    if starts[-1] < len(values):
        sets.append(values[starts[-1] :])
    return tuple(sets)
