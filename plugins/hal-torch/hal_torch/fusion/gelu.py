"""GELU by its tanh approximation, which exporters write out in eight steps, as torch's one."""

from __future__ import annotations

import dataclasses
import math

import torch.nn.functional as F

from hal.kernels.rewriting import Block, Constants, Step, Value
from hal_torch.fusion._uses import Uses

__all__ = ["fuse_gelu"]

_SCALE = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def fuse_gelu(block: Block, constants: Constants) -> None:
    """Replace x * 0.5 * (1 + tanh(sqrt(2/π) * (x + 0.044715 * x³))) by one step, in place."""
    pattern = _Pattern(block, constants)
    made: dict[int, Step] = {}
    for step in block.steps:
        x, last = pattern.around(step)
        if x is not None and last is not None:
            made[id(last)] = dataclasses.replace(
                last,
                label=step.label,
                op_type="Gelu",
                args=[x],
                function=lambda x: F.gelu(x, approximate="tanh"),
                keywords={},
                moved=None,
                info=None,
            )
    if made:
        block.steps = [made.get(id(s), s) for s in block.steps]
        block.prune()


class _Pattern:
    """Finds the steps around a Tanh."""

    def __init__(self, block: Block, constants: Constants) -> None:
        self._uses = Uses(block)
        self._constants = constants
        self._maker = {id(v): s for s in block.steps for v in s.outputs if v is not None}

    def around(self, tanh: Step) -> tuple[Value | None, Step | None]:
        """The x of a GELU and its last step; twice None if this is none."""
        if tanh.op_type != "Tanh" or not _is_plain(tanh):
            return None, None
        total = self._scaled(tanh.args[0], "Mul", _SCALE)
        x = self._sum(total)
        one = self._uses.only_reader(tanh.outputs[0])
        if x is None or one is None or self._scaled(one.outputs[0], "Add", 1.0) is None:
            return None, None
        last = self._uses.only_reader(one.outputs[0])
        if last is None or last.op_type != "Mul" or not _is_plain(last):
            return None, None
        half = last.args[1] if last.args[0] is one.outputs[0] else last.args[0]
        return (x, last) if self._scaled(half, "Mul", 0.5) is x else (None, None)

    def _sum(self, value: Value | None) -> Value | None:
        """x, if the value is x + 0.044715 * x³."""
        step = self._step(value, "Add")
        for x, other in (step.args, step.args[::-1]) if step else ():
            power = self._step(self._scaled(other, "Mul", _CUBIC), "Pow")
            if power and power.args[0] is x and self._is(power.args[1], 3.0):
                return x
        return None

    def _scaled(self, value: Value | None, op_type: str, amount: float) -> Value | None:
        """The other side of a step that adds or multiplies with this number."""
        step = self._step(value, op_type)
        for own, other in (step.args, step.args[::-1]) if step else ():
            if self._is(other, amount):
                return own
        return None

    def _step(self, value: Value | None, op_type: str) -> Step | None:
        step = self._maker.get(id(value))
        return step if step and step.op_type == op_type and _is_plain(step) else None

    def _is(self, value: Value | None, number: float) -> bool:
        if value is None or not value.constant or value.type != "tensor(float)":
            return False
        array = self._constants.host(value)
        return array.shape == () and math.isclose(float(array), number, rel_tol=1e-6)


def _is_plain(step: Step) -> bool:
    return step.info is not None and not step.info.domain and not step.on_host
