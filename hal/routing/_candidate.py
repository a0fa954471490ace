"""Candidates: the ways in which a model could be run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from hal.backend import Option
from hal.device import Device

__all__ = ["Candidate"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A device, what is asked of its compiler, and which variant of the model it gets: "" for the
    model as it is."""

    device: Device
    options: Mapping[str, Option] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    variant: str = ""

    @property
    def label(self) -> str:
        """What tables call it, e.g. "ort:cpu intra_op_threads=1 int8"."""
        options = (f"{k}={v}" for k, v in sorted(self.options.items()))
        return " ".join(filter(None, (self.device.id, *options, self.variant)))
