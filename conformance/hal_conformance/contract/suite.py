"""The suite `contract`: HAL's own cases, made once and cached under what they are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING

from hal_conformance.cached_suite import CachedSuite, distribution_version
from hal_conformance.case import Case, CaseFacts
from hal_conformance.deep.choices import is_deep

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = ["ContractSuite", "load_contract_suite"]


def load_contract_suite() -> ContractSuite:
    """The suite for the installed onnx. Raises AbsentError if there is none."""
    return ContractSuite(distribution_version("onnx", "contract"))


class ContractSuite(CachedSuite):
    """See `hal_conformance.case.Suite`."""

    name = "contract"

    def __init__(self, onnx_version: str) -> None:
        digest = _sources_digest()
        super().__init__(
            f"contract {digest}, onnx {onnx_version}", f"contract-{onnx_version}-{digest}"
        )

    def facts(self, case_id: str) -> CaseFacts:
        """The facts of one case, or of a deep one, which is made from its id. Raises UsageError if
        there is no such case."""
        return self.load(case_id) if is_deep(case_id) else super().facts(case_id)

    def load(self, case_id: str) -> Case:
        """One case whole; see `facts`."""
        if not is_deep(case_id):
            return super().load(case_id)
        from hal_conformance.deep.makers import deep_case  # imports onnx

        return deep_case(case_id)

    def make_cases(self) -> Iterable[Case]:
        """The cases, made anew."""
        from hal_conformance.contract.build import contract_cases  # imports onnx

        return contract_cases()


def _sources_digest() -> str:
    """Changes with every source file of this package: other generators, other cases."""
    digest = hashlib.sha256()
    for name, file in sorted(_sources(resources.files("hal_conformance.contract"), "")):
        digest.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _sources(folder: Traversable, prefix: str) -> Iterable[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.name.endswith(".py"):
            yield prefix + entry.name, entry
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")
