"""The contract itself: look-up of operator versions, and the cells to measure a backend on."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence

from hal.contract import _codec
from hal.contract.model import (
    CONTRIBUTED_DOMAIN,
    STABLE_DOMAINS,
    Cell,
    Operator,
    canonical_domain,
    operator_key,
)
from hal.contract.profiles import Profile, load_profile
from hal.errors import UsageError, did_you_mean

__all__ = ["Contract", "contract"]


class Contract:
    """Every operator and version of the pinned onnx release. Use `contract()` to get it.

    Operators are decoded when they are first asked for; the same version is always the same object.
    What is looked up by name (an operator, a node's cells, a profile) may also be of `contributed`.
    """

    version = _codec.CONTRACT_VERSION

    def __init__(self, table: _codec.Table) -> None:
        self._table = table
        self._versions: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        for position, row in enumerate(table.rows):  # sorted by domain, name and version
            since, rows = self._versions.setdefault((row[0], row[1]), ([], []))
            since.append(row[2])
            rows.append(position)
        self._decoded: dict[int, Operator] = {}

    @property
    def onnx_version(self) -> str:
        """The onnx release that the contract is made from, e.g. "1.23.2"."""
        return self._table.onnx_version

    @property
    def contributed(self) -> Contract:
        """The operators that onnxruntime defines itself, in com.microsoft; they are none of
        `operators`, `all_versions`, `domains` and the cells counted by default."""
        return _contributed()

    @functools.cached_property
    def domains(self) -> tuple[str, ...]:
        """Every domain, sorted; `STABLE_DOMAINS` are the ones whose cells are counted."""
        return tuple(sorted({domain for domain, _ in self._versions}))

    @functools.cached_property
    def operators(self) -> tuple[Operator, ...]:
        """The latest version of every operator not deprecated, sorted by domain and name."""
        newest = (self._operator(rows[-1]) for _, rows in self._versions.values())
        return tuple(op for op in newest if op.latest)

    @functools.cached_property
    def all_versions(self) -> tuple[Operator, ...]:
        """Every version of every operator, deprecated ones included."""
        return tuple(self._operator(i) for i in range(len(self._table.rows)))

    def resolve(self, domain: str, op_type: str, opset: int) -> Operator | None:
        """The operator version that a model importing `opset` of `domain` means: the newest that is
        not newer. It may be `deprecated`. None for an operator the contract does not know, or one
        that did not exist yet."""
        if domain == CONTRIBUTED_DOMAIN and self is not _contributed():
            return _contributed().resolve(domain, op_type, opset)
        since, rows = self._versions.get((canonical_domain(domain), op_type), ((), ()))
        position = bisect.bisect_right(since, opset) - 1
        return None if position < 0 else self._operator(rows[position])

    def latest(self, key: str) -> Operator:
        """The newest version of the operator named `key` ("Softmax", "ai.onnx.ml::Scaler"), even if
        deprecated. Raises UsageError with a suggestion if there is none."""
        domain, _, name = key.rpartition("::")
        if domain == CONTRIBUTED_DOMAIN and self is not _contributed():
            return _contributed().latest(key)
        found = self._versions.get((canonical_domain(domain), name))
        if found is None:
            known = [operator_key(d, n) for d, n in self._versions]
            raise UsageError(
                f"the contract has no operator {key!r}.{did_you_mean(key, known)}",
                next_step="hal ops",
            )
        return self._operator(found[1][-1])

    def versions_of(self, key: str) -> tuple[Operator, ...]:
        """Every version of the operator named `key`, oldest first. Raises like `latest`."""
        newest = self.latest(key)
        if newest.domain == CONTRIBUTED_DOMAIN and self is not _contributed():
            return _contributed().versions_of(key)
        return tuple(self._operator(i) for i in self._versions[newest.domain, newest.name][1])

    def ir_version(self, opsets: Mapping[str, int]) -> int:
        """The lowest IR version that admits a model importing these opsets (domain to version).

        From onnx's table of releases. Domains that the table does not list ask for none. Raises
        UsageError for an opset newer than the contract's.
        """
        lowest = 3
        for domain, opset in opsets.items():
            pairs = self._table.irs.get(canonical_domain(domain))
            if not pairs:
                continue
            fitting = [ir for known, ir in pairs if known >= opset]
            if not fitting:
                raise UsageError(
                    f"opset {opset} of {canonical_domain(domain)} is newer than onnx "
                    f"{self.onnx_version} knows ({pairs[-1][0]})"
                )
            lowest = max(lowest, min(fitting))
        return lowest

    def newest_opset(self, domain: str = "") -> int:
        """The newest opset of a domain. Raises UsageError for an unknown domain."""
        domain = canonical_domain(domain)
        if domain in self._table.irs:
            return int(self._table.irs[domain][-1][0])
        since = [versions[-1] for (d, _), (versions, _) in self._versions.items() if d == domain]
        if not since:
            raise UsageError(
                f"the contract has no domain {domain!r}.{did_you_mean(domain, self.domains)}"
            )
        return max(since)

    def profile(self, name: str) -> Profile:
        """A profile by name. Raises UsageError with a suggestion if there is none."""
        return load_profile(name)

    def cells(
        self,
        profile: str | Profile | None = None,
        *,
        domains: Collection[str] | None = None,
    ) -> tuple[Cell, ...]:
        """The cells of a profile, or of the stable domains; with `domains`, only theirs."""
        wanted = None if domains is None else {canonical_domain(d) for d in domains}
        if profile is None:
            wanted = set(STABLE_DOMAINS) if wanted is None else wanted
            return tuple(c for op in self.operators if op.domain in wanted for c in op.cells)
        if isinstance(profile, str):
            profile = self.profile(profile)
        return tuple(
            cell
            for op in self.operators_of(profile)
            if wanted is None or op.domain in wanted
            for cell in op.cells
            if profile.admits(cell)
        )

    def operators_of(self, profile: str | Profile) -> tuple[Operator, ...]:
        """The operators of a profile that have a schema here, at their latest version."""
        if isinstance(profile, str):
            profile = self.profile(profile)
        every = self.operators
        if any(key.startswith(f"{CONTRIBUTED_DOMAIN}::") for key in profile.operators):
            every += _contributed().operators
        return tuple(op for op in every if profile.has_operator(op.key, op.domain))

    def cells_of(
        self,
        domain: str,
        op_type: str,
        opset: int,
        input_types: Sequence[str | None],
        output_types: Sequence[str | None] = (),
    ) -> tuple[str, ...]:
        """The ids of the cells that one node exercises, in the contract's order.

        Types are type strings in the node's order, None or "" for an absent optional or an unknown
        one. Empty if `opset` means another version than the latest, on which cells are counted.
        """
        operator = self.resolve(domain, op_type, opset)
        if operator is None or not operator.latest:
            return ()
        bound = operator.bind(input_types, output_types)
        return tuple(c.id for c in operator.cells if c.type in bound.get(c.constraint, ()))

    def _operator(self, position: int) -> Operator:
        operator = self._decoded.get(position)
        if operator is None:
            operator = _codec.decode(self._table.rows[position], self._table.type_sets)
            self._decoded[position] = operator
        return operator


@functools.lru_cache(maxsize=1)
def contract() -> Contract:
    """The contract, read from its data file at the first call."""
    return Contract(_codec.load())


@functools.lru_cache(maxsize=1)
def _contributed() -> Contract:
    return Contract(_codec.load(name=_codec.CONTRIBUTED_FILE_NAME))


def count(cells: Iterable[Cell]) -> tuple[int, int]:
    """How many of the cells are over tensors, and how many over sequences, optionals and maps."""
    containers = [cell.container for cell in cells]
    return containers.count(False), containers.count(True)
