"""The suite `onnx`: ONNX's official backend cases, made once and cached under the onnx version."""

from __future__ import annotations

from collections.abc import Iterable

from hal_conformance.cached_suite import CachedSuite, distribution_version
from hal_conformance.case import Case
from hal_conformance.disputed import disputed_digest, load_disputed

__all__ = ["OnnxSuite", "load_onnx_suite"]


def load_onnx_suite() -> OnnxSuite:
    """The suite for the installed onnx. Raises AbsentError if there is none."""
    return OnnxSuite(distribution_version("onnx", "onnx"))


class OnnxSuite(CachedSuite):
    """See `hal_conformance.case.Suite`."""

    name = "onnx"

    def __init__(self, onnx_version: str) -> None:
        super().__init__(f"onnx {onnx_version}", f"onnx-{onnx_version}-{disputed_digest()}")

    def make_cases(self) -> Iterable[Case]:
        """The cases, made anew."""
        from hal_conformance.official import official_cases  # imports onnx, seconds of work

        return official_cases(load_disputed())
