"""Linear and support vector models of ai.onnx.ml."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._ml_scores import DOMAIN, SHOWN, finished, labeller, plain_float, transform

__all__ = ["table"]

table = KernelTable()
Tensor = torch.Tensor
Run = Callable[[Tensor], Any]

LABELS = ("classlabels_ints", "classlabels_strings")
SVM = (
    "coefficients",
    "kernel_params",
    "kernel_type",
    "post_transform",
    "rho",
    "support_vectors",
)


def _floats(node: NodeInfo, name: str) -> Tensor:
    values = node.attributes.get(name) or ()
    return torch.tensor(values, dtype=torch.float32, device=node.arrays.device)


def _rows(x: Tensor) -> Tensor:
    """The input as [N, C] in the type of the computation; a vector is one row."""
    return plain_float(x if x.dim() > 1 else x.unsqueeze(0))


@table.specialized(
    "LinearClassifier",
    1,
    domain=DOMAIN,
    attributes=("coefficients", "intercepts", "multi_class", "post_transform", *LABELS),
)
def linear_classifier(node: NodeInfo) -> Run:
    coefficients, intercepts = _floats(node, "coefficients"), _floats(node, "intercepts")
    name = str(node.attributes.get("post_transform", "NONE"))
    transform(name)
    count, labels = labeller(node, "classlabels_ints")

    def run(x: Tensor) -> Any:
        x = _rows(x)
        scores = x @ coefficients.view(-1, x.shape[1]).T.to(x.dtype)
        if intercepts.numel():
            scores = scores + intercepts.to(x.dtype)
        if scores.shape[1] > 1:
            found = scores.argmax(1)
            return labels(found) if count else found, finished(scores, name)
        found = (scores[:, 0] > 0).to(torch.int64)
        two = count == 2
        return labels(found) if two else found, finished(scores, name, 0 if two else SHOWN)

    return run


@table.specialized(
    "LinearRegressor",
    1,
    domain=DOMAIN,
    attributes=("coefficients", "intercepts", "post_transform", "targets"),
)
def linear_regressor(node: NodeInfo) -> Run:
    coefficients, intercepts = _floats(node, "coefficients"), _floats(node, "intercepts")
    targets = int(node.attributes.get("targets", 1))
    weights = coefficients.view(targets, -1).T
    name = str(node.attributes.get("post_transform", "NONE"))
    transform(name)

    def run(x: Tensor) -> Tensor:
        x = _rows(x)
        scores = x @ weights.to(x.dtype)
        if intercepts.numel():
            scores = scores + intercepts.to(x.dtype)
        return finished(scores, name)

    return run


def _kernel(node: NodeInfo) -> Callable[[Tensor, Tensor], Tensor]:
    """The kernel function of an SVM: [N, F] and [V, F] to [N, V]."""
    params = node.attributes.get("kernel_params") or (0.0, 0.0, 0.0)
    gamma, offset, degree = (float(p) for p in params)
    name = str(node.attributes.get("kernel_type", "LINEAR"))
    if name == "LINEAR":
        return lambda x, v: x @ v.T
    if name == "POLY":
        return lambda x, v: (x @ v.T * gamma + offset) ** degree
    if name == "SIGMOID":
        return lambda x, v: torch.tanh(x @ v.T * gamma + offset)
    if name == "RBF":
        exact = "donot_use_mm_for_euclid_dist"
        return lambda x, v: torch.exp(-gamma * torch.cdist(x, v, compute_mode=exact) ** 2)
    raise UnsupportedError(f"kernel_type {name!r} is none of LINEAR, POLY, RBF, SIGMOID")


@table.specialized(
    "SVMRegressor", 1, domain=DOMAIN, attributes=(*SVM, "n_supports", "one_class", "n_targets")
)
def svm_regressor(node: NodeInfo) -> Run:
    supports = int(node.attributes.get("n_supports", 0))
    one_class = bool(node.attributes.get("one_class", 0))
    name = str(node.attributes.get("post_transform", "NONE"))
    transform(name)
    coefficients, rho = _floats(node, "coefficients"), _floats(node, "rho")[:1]
    vectors = _floats(node, "support_vectors").view(supports, -1) if supports else None
    kernel = _kernel(node)

    def run(x: Tensor) -> Tensor:
        x = _rows(x)
        weights = coefficients.to(x.dtype).unsqueeze(1)
        seen = x if vectors is None else kernel(x, vectors.to(x.dtype))
        scores = seen @ weights + rho.to(x.dtype)
        if one_class:
            scores = torch.where(scores > 0, 1.0, -1.0)
        return finished(scores, name)

    return run


def _pairs(node: NodeInfo, counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """One-against-one: the weight of each support vector for each pair of classes [V, P], and
    which class a pair's positive score votes for [P, C, 2]."""
    total = sum(counts)
    coefficients = torch.tensor(node.attributes["coefficients"]).view(-1, total)
    starts = [sum(counts[:i]) for i in range(len(counts))]
    pairs = list(combinations(range(len(counts)), 2))
    weights = torch.zeros(total, len(pairs))
    votes = torch.zeros(len(pairs), len(counts), 2)
    for index, (i, j) in enumerate(pairs):
        first = slice(starts[i], starts[i] + counts[i])
        second = slice(starts[j], starts[j] + counts[j])
        weights[first, index] = coefficients[j - 1, first]
        weights[second, index] = coefficients[i, second]
        votes[index, i, 0] = votes[index, j, 1] = 1
    device = node.arrays.device
    return weights.to(device), votes.to(device)


def _coupled(scores: Tensor, a: Tensor, b: Tensor, classes: int) -> Tensor:
    """Class probabilities from pairwise ones: Wu, Lin and Weng (2004), the second method, by
    libsvm's iteration and with its limits (100 rounds, 0.005 / classes)."""
    pairwise = torch.sigmoid(-(scores * a + b)).clamp(1e-7, 1 - 1e-7)
    r = torch.zeros(len(scores), classes, classes, dtype=scores.dtype, device=scores.device)
    for index, (i, j) in enumerate(combinations(range(classes), 2)):
        r[:, i, j] = pairwise[:, index]
        r[:, j, i] = 1 - pairwise[:, index]
    q = -r.transpose(1, 2) * r
    q = q + torch.diag_embed((r * r).sum(1))
    p = torch.full((len(scores), classes), 1 / classes, dtype=scores.dtype, device=scores.device)
    for _ in range(max(100, classes)):
        qp = (q @ p.unsqueeze(2)).squeeze(2)
        pqp = (p * qp).sum(1, keepdim=True)
        going = (qp - pqp).abs().amax(1, keepdim=True) >= 0.005 / classes
        if not bool(going.any()):
            break
        new = p
        for t in range(classes):
            own = q[:, t, t].unsqueeze(1)
            step = (pqp - qp[:, t : t + 1]) / own
            pqp = (pqp + step * (step * own + 2 * qp[:, t : t + 1])) / (1 + step) ** 2
            qp = (qp + step * q[:, t, :]) / (1 + step)
            moved = new.clone()
            moved[:, t : t + 1] += step
            new = moved / (1 + step)
        p = torch.where(going, new, p)
    return p


@table.specialized(
    "SVMClassifier",
    1,
    domain=DOMAIN,
    attributes=(*SVM, *LABELS, "prob_a", "prob_b", "vectors_per_class"),
)
def svm_classifier(node: NodeInfo) -> Run:
    name = str(node.attributes.get("post_transform", "NONE"))
    transform(name)
    count, labels = labeller(node, "classlabels_ints")
    counts = tuple(int(n) for n in node.attributes.get("vectors_per_class") or ())
    coefficients = tuple(node.attributes.get("coefficients") or ())
    all_positive = min(coefficients, default=0.0) >= 0
    rho, prob_a, prob_b = (_floats(node, n) for n in ("rho", "prob_a", "prob_b"))
    proba = bool(counts) and prob_a.numel() > 0
    if counts:
        weights, votes = _pairs(node, counts)
        vectors = _floats(node, "support_vectors").view(sum(counts), -1)
        kernel = _kernel(node)
    else:
        linear = _floats(node, "coefficients").view(max(count, 1), -1).T

    def run(x: Tensor) -> Any:
        x = _rows(x)
        if counts:
            scores = kernel(x, vectors.to(x.dtype)) @ weights.to(x.dtype) + rho.to(x.dtype)
            won = (scores > 0).to(x.dtype)
            ballot = won @ votes[:, :, 0].to(x.dtype) + (1 - won) @ votes[:, :, 1].to(x.dtype)
            if proba:
                scores = _coupled(scores, prob_a.to(x.dtype), prob_b.to(x.dtype), count)
        else:
            scores = ballot = x @ linear.to(x.dtype) + rho[0].to(x.dtype)
        most, found = ballot.max(1)
        second = SHOWN
        if rho.numel() == 1:
            if count == 2:
                second = 2
                if not counts and all_positive:
                    found = torch.where(most >= 0.5, torch.ones_like(found), found)
            else:
                return (most > 0).to(torch.int64), finished(scores, name, second)
        return labels(found) if count else found, finished(scores, name, second)

    return run
