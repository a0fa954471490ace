"""The options of `compile`, read and checked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hal.backend import Option
from hal.device import Device
from hal.errors import UsageError, did_you_mean

__all__ = ["TorchOptions"]

MODES = ("eager", "compile")
PRECISIONS = ("float32", "float64", "tf32", "bfloat16", "float16")
_WORDS = {"true": True, "1": True, "false": False, "0": False}


@dataclasses.dataclass(frozen=True)
class TorchOptions:
    """How a model is compiled and run."""

    mode: str = "eager"
    """"eager": PyTorch's kernels, one call a node. "compile": TorchInductor makes code of the whole
    model for each set of input shapes."""
    precision: str = "float32"
    """"float64": what the model computes in float32 is computed in float64, and its outputs are
    rounded once; for a reference of other engines. "tf32": float32 with matrix products in TF32,
    where the device has it. "bfloat16" and "float16": matrix products and convolutions in that
    type, and what moves or scales their results; norms, softmax and reductions in float32."""
    channels_last: bool | None = None
    """Whether images lie in memory with their channels last; None: as the device likes it."""
    threads: int = 0
    """Threads of the CPU during a run; 0 leaves torch.get_num_threads() as it is."""

    @classmethod
    def parse(cls, device: Device, options: Mapping[str, Option]) -> TorchOptions:
        """Read options, whose values may be text from a command line. Raises UsageError for a name
        or a value that does not exist."""
        names = [field.name for field in dataclasses.fields(cls)]
        found: dict[str, Any] = {}
        for name, value in options.items():
            if name not in names:
                raise UsageError(
                    f"{device.id} has no option {name!r}.{did_you_mean(name, names)}",
                    next_step=f"the options are {', '.join(names)}",
                )
            found[name] = _READERS[name](device, name, value)
        return cls(**found)


def _choice(choices: tuple[str, ...]) -> Any:
    def read(device: Device, name: str, value: Option) -> str:
        if value in choices:
            return str(value)
        raise UsageError(
            f"{device.id}: the option {name!r} is one of {', '.join(choices)}, got {value!r}."
            f"{did_you_mean(str(value), choices)}"
        )

    return read


def _flag(device: Device, name: str, value: Option) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in _WORDS:
        return _WORDS[str(value).lower()]
    raise UsageError(f"{device.id}: the option {name!r} is true or false, got {value!r}")


def _count(device: Device, name: str, value: Option) -> int:
    try:
        count = int(value)
    except ValueError:
        count = -1
    if isinstance(value, (bool, float)) or count < 0:
        raise UsageError(f"{device.id}: the option {name!r} is a number of threads, got {value!r}")
    return count


_READERS = {
    "mode": _choice(MODES),
    "precision": _choice(PRECISIONS),
    "channels_last": _flag,
    "threads": _count,
}
