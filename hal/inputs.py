"""Plausible inputs for a model, drawn from the names, types and shapes that its graph states.

Random bits in every input tell little: a token id outside the vocabulary is an error, and a mask of
noise hides the model behind it. What is drawn here is synthetic and is called so in every report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from hal._drawing import Drawer, fed, is_cache, symbol
from hal.errors import ModelError, UsageError, did_you_mean
from hal.graph import ModelGraph, ValueInfo
from hal.tensor import Value

__all__ = ["LARGEST_INPUTS", "draw_inputs", "input_sizes"]

LARGEST_INPUTS = 4 << 30
"""Bytes of all inputs together; a model that asks for more is refused before anything is made."""

_SIZES: tuple[tuple[str, int], ...] = (
    (r"past|cache", 16),
    (r"batch|^n$|^b$", 1),
    (r"sample|audio|wave", 8000),
    (r"frame", 100),
    (r"height|width|^h$|^w$", 224),
    (r"channel|^c$", 3),
    (r"seq|time|length|len|token|^s$|^t$", 32),
)
"""What a symbol's name, in lower case, says of its size; the first that fits."""
_OTHER = 8


def draw_inputs(
    graph: ModelGraph, *, seed: int = 0, sizes: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Value]:
    """A value for every graph input that has no initializer, the same for the same arguments.

    Token ids lie within the table of the Gather that they feed; masks are ones, with padding on the
    left of every other row; position ids count up from the length of the KV cache; lengths fit the
    sequences beside them; images are normalised (mean 0, deviation 1), or 0 to 255 in uint8;
    everything else is standard normal. Dimensions without a size get those of `input_sizes`.

    Raises UsageError for a name in `sizes` that the model does not have, ModelError for an input
    without a type or with more than LARGEST_INPUTS bytes.
    """
    found = input_sizes(graph, sizes)
    drawer = Drawer(graph, found, seed)
    inputs = list(fed(graph))
    total = sum(drawer.nbytes(info) for info in inputs)
    if total > LARGEST_INPUTS:
        raise ModelError(
            f"the model's inputs have {total / 2**30:.1f} GiB, more than the "
            f"{LARGEST_INPUTS >> 30} GiB that HAL draws",
            next_step="give smaller sizes for its open dimensions, or inputs of your own",
        )
    return {info.name: drawer.value(info) for info in inputs}


def input_sizes(
    graph: ModelGraph, sizes: Mapping[str, int] = MappingProxyType({})
) -> dict[str, int]:
    """The size of every dimension of the inputs that the model leaves open, by its symbol.

    A dimension without a name goes under "<input>.<axis>". `sizes` overrides what the name suggests
    (batch 1, sequence 32, past 16, height and width 224, ...). Sums such as
    "past_sequence_length + 1", and totals where there is a past, follow from their parts. Raises
    UsageError for a name that the model does not have and for a negative size.
    """
    roles = _symbols(graph)
    for name, size in sizes.items():
        if name not in roles:
            known = ", ".join(roles) or "none"
            raise UsageError(
                f"the model has no open dimension {name!r}.{did_you_mean(name, roles)}",
                next_step=f"its open dimensions: {known}",
            )
        if size < 0:
            raise UsageError(f"dimension {name!r} cannot have the size {size}")
    found = {name: sizes[name] for name in roles if name in sizes}
    totals = []
    for name, role in roles.items():
        if name in found:
            continue
        if "+" in role or "total" in role:
            totals.append(name)
            continue
        found[name] = _suggested(role)
    for name in totals:
        found[name] = _total(roles[name], roles, found)
    return {name: found[name] for name in roles}


def _symbols(graph: ModelGraph) -> dict[str, str]:
    """What each open dimension is about: its own name, or what its place in the input says."""
    roles: dict[str, str] = {}
    past = any(is_cache(info.name.lower()) for info in fed(graph))
    for info in fed(graph):
        for axis, dim in enumerate(info.shape or ()):
            name = symbol(info, axis, dim)
            if not name or name in roles:
                continue
            # An unnamed symbol ("unk__12") or none at all: the place says more.
            telling = isinstance(dim, str) and not re.fullmatch(r"(unk|dim|s|d)?_*\d*|\?", dim)
            roles[name] = str(dim).lower() if telling else _place(info, axis, past)
    return roles


def _place(info: ValueInfo, axis: int, past: bool) -> str:
    rank, name = len(info.shape or ()), info.name.lower()
    if axis == 0 and rank > 0:
        return "batch"
    if is_cache(name) and axis == rank - 2:
        return "past"
    if past and "mask" in name and axis == rank - 1:
        return "total"
    if rank == 4:
        return ("batch", "channel", "height", "width")[axis]
    return "sequence" if axis == 1 else "other"


def _suggested(role: str) -> int:
    return next((size for pattern, size in _SIZES if re.search(pattern, role)), _OTHER)


def _total(role: str, roles: Mapping[str, str], found: Mapping[str, int]) -> int:
    def known(part: str) -> int:
        part = part.strip()
        if part.isdigit():
            return int(part)
        same = [found[n] for n, r in roles.items() if r == part and n in found]
        return same[0] if same else _suggested(part)

    if "+" in role:
        return sum(known(part) for part in role.split("+"))
    past = [found[n] for n, r in roles.items() if "past" in r and n in found]
    sequence = [found[n] for n, r in roles.items() if re.search("seq", r) and n in found and
                "past" not in r]  # fmt: skip
    return (past[0] if past else 0) + (sequence[0] if sequence else _suggested("sequence"))
