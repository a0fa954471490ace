"""Decompositions have many right answers: signs, phases, the order of eigenvalues. These are judged
by what they are made of: the factors multiplied give the input back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

__all__ = ["RECONSTRUCTIONS", "Pairs"]

Pairs = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""What should be, and what the factors make of it."""


def _eye_of(factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    product = factor.mH @ factor
    return torch.eye(product.shape[-1], dtype=product.dtype).expand_as(product), product


def _svd(a: torch.Tensor, u: torch.Tensor, s: torch.Tensor, vh: torch.Tensor) -> Pairs:
    k = s.shape[-1]
    product = (u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :]
    return [(a, product), _eye_of(u), _eye_of(vh.mH), (torch.linalg.svdvals(a)[..., :k], s)]


def _linalg_svd(out: Sequence[Any], a: torch.Tensor, **options: Any) -> Pairs:
    u, s, vh = out
    return _svd(a, u, s, vh)


def _torch_svd(
    out: Sequence[Any], a: torch.Tensor, some: bool = True, compute_uv: bool = True
) -> Pairs:
    u, s, v = out
    if not compute_uv:
        return [(torch.linalg.svdvals(a), s)]
    return _svd(a, u, s, v.mH)


def _svd_lowrank(
    out: Sequence[Any], a: torch.Tensor, b: torch.Tensor, M: Any = None, **options: Any
) -> Pairs:
    u, s, v = out
    product = (u * s.unsqueeze(-2)) @ v.mH
    if M is None:
        return [(a @ b.mT, product), _eye_of(u)]
    # M has a rank of its own: the error is at most twice that of the best product of this rank
    whole = a @ b.mT - M
    best = torch.linalg.vector_norm(torch.linalg.svdvals(whole)[..., s.shape[-1] :], dim=-1)
    error = torch.linalg.matrix_norm(whole - product)
    return [(torch.zeros_like(error), (error - 2 * best).clamp(min=0)), _eye_of(u)]


def _pca_lowrank(
    out: Sequence[Any], a: torch.Tensor, b: torch.Tensor, center: bool = True, **options: Any
) -> Pairs:
    u, s, v = out
    product = a @ b.mT
    if center:
        product = product - product.mean(-2, keepdim=True)
    return [(product, (u * s.unsqueeze(-2)) @ v.mH)]


def _eig(out: Sequence[Any], a: torch.Tensor) -> Pairs:
    values, vectors = out
    a = a.to(vectors.dtype)
    norms = torch.linalg.vector_norm(vectors, dim=-2)
    pairs = [(a @ vectors, vectors * values.unsqueeze(-2)), (torch.ones_like(norms), norms)]
    return [*pairs, (a.diagonal(dim1=-2, dim2=-1).sum(-1), values.sum(-1))]


def _eigh(out: Sequence[Any], a: torch.Tensor, UPLO: str = "L") -> Pairs:
    values, vectors = out
    half = a.tril(-1) if UPLO.upper() == "L" else a.triu(1)
    diagonal = a.diagonal(dim1=-2, dim2=-1).real.to(a.dtype)
    whole = half + half.mH + torch.diag_embed(diagonal)
    return [(whole @ vectors, vectors * values.unsqueeze(-2)), _eye_of(vectors)]


def _linalg_qr(out: Sequence[Any], a: torch.Tensor, mode: str = "reduced") -> Pairs:
    q, r = out
    if mode == "r":
        return [(a.mH @ a, r.mH @ r), (r.triu(), r)]
    return [(a, q @ r), _eye_of(q), (r.triu(), r)]


def _torch_qr(out: Sequence[Any], a: torch.Tensor, some: bool = True) -> Pairs:
    return _linalg_qr(out, a)


def _geqrf(out: Sequence[Any], a: torch.Tensor) -> Pairs:
    factors, tau = out
    k = tau.shape[-1]
    q = torch.linalg.householder_product(factors[..., :k], tau)
    return [(a, q @ factors.triu()[..., :k, :])]


def _linalg_lu(out: Sequence[Any], a: torch.Tensor, pivot: bool = True) -> Pairs:
    p, lower, upper = out
    product = lower @ upper
    return [(a, p @ product if pivot else product)]


def _lu_factor(out: Sequence[Any], a: torch.Tensor, *rest: Any, **options: Any) -> Pairs:
    factors, pivots = out[:2]
    p, lower, upper = torch.lu_unpack(factors, pivots.to(torch.int32))
    return [(a, p @ lower @ upper)]


RECONSTRUCTIONS: Mapping[str, Callable[..., Pairs]] = MappingProxyType(
    {
        "geqrf": _geqrf,
        "linalg.eig": _eig,
        "linalg.eigh": _eigh,
        "linalg.lu": _linalg_lu,
        "linalg.lu_factor": _lu_factor,
        "linalg.lu_factor_ex": _lu_factor,
        "linalg.qr": _linalg_qr,
        "linalg.svd": _linalg_svd,
        "lu": _lu_factor,
        "pca_lowrank": _pca_lowrank,
        "qr": _torch_qr,
        "svd": _torch_svd,
        "svd_lowrank": _svd_lowrank,
    }
)
"""By OpInfo: the results in float64 or complex128 and the arguments of the call, into pairs that
must be equal."""
