"""A shuffle of channels, which models write as Reshape, Transpose, Reshape, as torch's one step.

torch's keeps channels last where they are, so that the convolution behind it need not move them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from hal.kernels.rewriting import Block, Constants, Step
from hal_torch.fusion._uses import Uses

__all__ = ["fuse_shuffles"]

Tensor = torch.Tensor


def fuse_shuffles(block: Block, constants: Constants) -> None:
    """Replace each chain of the three steps over images by one, in place."""
    uses = Uses(block)
    gone: set[int] = set()
    made: dict[int, Step] = {}
    for step in block.steps:
        split = _shape(step, 5, constants)
        turn = uses.only_reader(step.outputs[0]) if split else None
        if split is None or turn is None or not _swaps_groups(turn):
            continue
        last = uses.only_reader(turn.outputs[0])
        joined = _shape(last, 4, constants) if last else None
        if last is None or joined is None or last.args[0] is not turn.outputs[0]:
            continue
        _, groups, each, height, width = split
        if joined[1:] != (groups * each, height, width) or min(joined[1:]) < 1:
            continue
        gone |= {id(step), id(turn)}
        made[id(last)] = dataclasses.replace(
            last,
            label=step.label,
            args=[step.args[0]],
            function=_shuffle(split, joined),
            keywords={},
            moved=None,
            info=None,
        )
    block.steps = [made.get(id(s), s) for s in block.steps if id(s) not in gone]


def _shape(step: Step, rank: int, constants: Constants) -> tuple[int, ...] | None:
    """The constant shape of a Reshape to that rank, whose batch alone may be open."""
    info = step.info
    if info is None or info.domain or info.op_type != "Reshape" or step.on_host:
        return None
    shape = step.args[1] if len(step.args) > 1 else None
    if shape is None or not shape.constant or info.attributes.get("allowzero"):
        return None
    sizes = tuple(int(size) for size in constants.host(shape))
    return sizes if len(sizes) == rank and min(sizes[1:]) > 0 else None


def _swaps_groups(step: Step) -> bool:
    info = step.info
    known = info is not None and not info.domain and info.op_type == "Transpose"
    return known and not step.on_host and list(_permutation(step)) == [0, 2, 1, 3, 4]


def _permutation(step: Step) -> tuple[int, ...]:
    return tuple((step.info.attributes.get("perm") if step.info else None) or ())


def _shuffle(split: tuple[int, ...], joined: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    groups, image = split[1], torch.Size(joined[1:])

    def run(x: Tensor) -> Tensor:
        shape = x.shape
        count = shape[0] if shape else 0
        if shape[1:] == image and split[0] in (0, -1, count) and joined[0] in (0, -1, count):
            return torch.channel_shuffle(x, groups)
        first = (count if split[0] == 0 else split[0], *split[1:])
        parts = x.reshape(first).transpose(1, 2)
        return parts.reshape((parts.shape[0] if joined[0] == 0 else joined[0], *joined[1:]))

    return run
