"""The guard that exporters put behind a softmax: where it is NaN, take zero."""

from __future__ import annotations

import dataclasses

from hal.kernels.rewriting import Block, Constants, Step
from hal_torch.fusion._uses import Uses

__all__ = ["fuse_guards"]


def fuse_guards(block: Block, constants: Constants) -> None:
    """Replace IsNaN and Where(that, 0, softmax) by one step, in place on the softmax's own output:
    nobody else reads it. A softmax is never infinite, so nothing else changes."""
    uses = Uses(block)
    gone: set[int] = set()
    made: dict[int, Step] = {}
    for step in block.steps:
        if not _is(step, "Softmax"):
            continue
        readers = uses.readers(step.outputs[0])
        test = next((r for r in readers if r is not None and _is(r, "IsNaN")), None)
        if test is None or len(readers) != 2:
            continue
        choice = uses.only_reader(test.outputs[0])
        if choice is None or not _is(choice, "Where") or choice not in readers:
            continue
        condition, zero, kept = choice.args
        if condition is not test.outputs[0] or kept is not step.outputs[0]:
            continue
        if zero is None or not zero.constant or constants.host(zero).shape:
            continue
        if float(constants.host(zero)) != 0:
            continue
        gone.add(id(test))
        made[id(choice)] = dataclasses.replace(
            choice,
            args=[kept],
            function=lambda x: x.nan_to_num_(0.0),
            keywords={},
            moved=None,
            info=None,
        )
    block.steps = [made.get(id(s), s) for s in block.steps if id(s) not in gone]


def _is(step: Step, op_type: str) -> bool:
    known = step.op_type == op_type and step.info is not None and not step.info.domain
    return known and not step.on_host and not step.blocks
