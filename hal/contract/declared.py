"""Asks a backend, cell by cell, what it says it takes. Nothing is compiled or run."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from hal.backend import Support
from hal.contract._contract import Contract
from hal.contract.model import Operator
from hal.contract.probe import cell_probe, operator_probe
from hal.contract.profiles import Profile
from hal.device import Device
from hal.errors import BackendError, HostError
from hal.model import Model

__all__ = ["Declared", "SupportsModels", "declared"]


class SupportsModels(Protocol):
    """What can be asked: a backend, or the host process that serves one."""

    def supports(self, device: Device, model: Model) -> Support:
        """As `hal.backend.Backend.supports`."""
        ...


@dataclasses.dataclass(frozen=True)
class Declared:
    """What a device says of an operator: the ids of the cells it takes, of how many `asked`.

    An operator without type constraints is asked as a whole and counts no cell; `whole` is then
    the answer. `reasons` are the distinct reasons for what it does not take.
    """

    operator: str
    supported: tuple[str, ...]
    asked: int
    whole: bool | None = None
    reasons: tuple[str, ...] = ()


def declared(
    contract: Contract,
    operator: Operator,
    backend: SupportsModels,
    device: Device,
    profile: Profile | None = None,
) -> Declared:
    """Ask for each cell of the operator, or of its part in the profile.

    An error of the backend or its host counts as a no, with the error as the reason: one probe
    that kills a host costs one cell.
    """
    reasons: dict[str, None] = {}
    if not operator.constraints:
        yes = _ask(backend, device, operator_probe(contract, operator), reasons)
        return Declared(operator.key, (), 0, yes, tuple(reasons))
    cells = [cell for cell in operator.cells if profile is None or profile.admits(cell)]
    supported = tuple(
        cell.id for cell in cells if _ask(backend, device, cell_probe(contract, cell), reasons)
    )
    return Declared(operator.key, supported, len(cells), None, tuple(reasons))


def _ask(backend: SupportsModels, device: Device, model: Model, reasons: dict[str, None]) -> bool:
    try:
        support = backend.supports(device, model)
    except (BackendError, HostError) as error:
        reasons[str(error)] = None
        return False
    reasons.update((node.reason, None) for node in support.unsupported)
    return support.supported
