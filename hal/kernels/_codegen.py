"""Blocks to Python source: straight lines over local variables, compiled once.

Every name in the source is made here; nothing of the model's text gets in. Kernels, constants and
attributes are globals of the generated code.
"""

from __future__ import annotations

import dataclasses
import itertools
import types
from collections.abc import Callable, Mapping
from typing import Any

from hal.kernels._arrays import Arrays
from hal.kernels._program import Block, Constants, Step, Value, to_device, to_host

__all__ = ["Generated", "generate", "move_shape_arithmetic"]


@dataclasses.dataclass(frozen=True, eq=False)
class Generated:
    """A compiled program. `function` takes a list of arrays, empties it, and gives a tuple."""

    function: Callable[[list[Any]], tuple[Any, ...]]
    source: str
    labels: Mapping[str, Mapping[int, str]]
    """By function name in the source, then line: the node that the line computes."""
    namespace: dict[str, Any]

    def node_at(self, traceback: types.TracebackType | None) -> str:
        """The label of the innermost node in a traceback; "" if it is in none."""
        label = ""
        while traceback is not None:
            frame = traceback.tb_frame
            if frame.f_globals is self.namespace:
                lines = self.labels.get(frame.f_code.co_name, {})
                label = lines.get(traceback.tb_lineno, label)
            traceback = traceback.tb_next
        return label


def generate(block: Block, arrays: Arrays, constants: Constants) -> Generated:
    """Compile a program's main block and all blocks inside it."""
    writer = _Writer(arrays, constants)
    name = writer.block(block, main=True)
    function = writer.namespace[name]
    return Generated(function, "\n\n".join(writer.sources), writer.labels, writer.namespace)


class _Writer:
    def __init__(self, arrays: Arrays, constants: Constants) -> None:
        self.arrays = arrays
        self.constants = constants
        # An extension module that a kernel calls imports through the builtins of this code.
        self.namespace: dict[str, Any] = {
            "__builtins__": {"tuple": tuple, "__import__": __import__}
        }
        self.sources: list[str] = []
        self.labels: dict[str, dict[int, str]] = {}
        self._numbers = itertools.count()
        self._globals: dict[tuple[str, int], str] = {}
        self._keep: list[object] = []

    def bind(self, prefix: str, item: Any) -> str:
        """A global for the item, shared by all who ask for the same object."""
        key = (prefix, id(item))
        if key not in self._globals:
            name = f"{prefix}{next(self._numbers)}"
            self.namespace[name] = item
            self._globals[key] = name
            self._keep.append(item)  # so that its id stays its own
        return self._globals[key]

    def block(self, block: Block, main: bool = False) -> str:
        """Write and compile one block; gives the name of its function in the namespace."""
        name = f"graph{next(self._numbers)}"
        body = _Body(self, block, main, name)
        source = body.source()
        code = compile(source, f"<{name}>", "exec", dont_inherit=True)
        exec(code, self.namespace)  # noqa: S102 (source made here alone, see the module's docstring)
        self.sources.append(source)
        self.labels[name] = body.labels
        return name


class _Body:
    """Writes one function."""

    def __init__(self, writer: _Writer, block: Block, main: bool, name: str) -> None:
        self._writer = writer
        self._block = block
        self._main = main
        self._name = name
        self._lines: list[str] = []
        self.labels: dict[int, str] = {}
        self._names: dict[int, int] = {}
        self._forms: dict[int, dict[str, str]] = {}
        """The variables that hold a value, by value and form ("d"evice or "h"ost)."""
        self._last: dict[int, int] = {}

    def source(self) -> str:
        block = self._block
        params = [*block.params, *block.captures()]
        self._last = _last_uses(block)
        names = [self._define(value, "d") for value in params]
        if self._main:
            self._line(f"def {self._name}(values):")
            if names:
                self._line(f" {', '.join(names)}, = values")
                self._line(" values.clear()")
        else:
            self._line(f"def {self._name}({', '.join(names)}):")
        self._delete([v for v in params if id(v) not in self._last])
        for index, step in enumerate(block.steps):
            self._step(index, step)
        results = ["None" if v is None else self._device(v) for v in block.results]
        self._line(f" return ({''.join(r + ', ' for r in results)})")
        return "\n".join(self._lines) + "\n"

    def _step(self, index: int, step: Step) -> None:
        args = [
            "None"
            if value is None
            else self._host(value)
            if step.wants_host(position)
            else self._device(value)
            for position, value in enumerate(step.args)
        ]
        function = step.function
        if step.build is not None:
            compiled = [self._writer.block(b) for b in step.blocks]
            function = step.build(*(self._writer.namespace[name] for name in compiled))
            for block in step.blocks:
                captured = [self._device(v) for v in block.captures()]
                args.append(f"({''.join(c + ', ' for c in captured)})")
        call = [*args, *(f"{k}={self._writer.bind('a', v)}" for k, v in step.keywords.items())]
        made = f"{self._writer.bind('k', function)}({', '.join(call)})"
        form = "h" if step.host_result and not self._writer.arrays.is_host else "d"
        targets = ["_" if v is None else self._define(v, form) for v in step.outputs]
        if len(targets) > 1 or step.always_tuple:
            self._line(f" {', '.join(targets)}, = {made}[:{len(targets)}]", step.label)
        else:
            self._line(f" {targets[0]} = {made}", step.label)
            if step.may_be_tuple:
                self._line(
                    f" if {targets[0]}.__class__ is tuple: {targets[0]} = {targets[0]}[0]",
                    step.label,
                )
        if "_" in targets:
            self._line(" del _")
        done = [
            v
            for v in _distinct(step)
            if self._last.get(id(v), -1) <= index and id(v) in self._forms
        ]
        self._delete(done)

    def _define(self, value: Value, form: str) -> str:
        number = self._names.setdefault(id(value), len(self._names))
        name = f"{'v' if form == 'd' else 'h'}{number}"
        self._forms.setdefault(id(value), {})[form] = name
        return name

    def _device(self, value: Value) -> str:
        if value.constant:
            return self._writer.bind("c", self._writer.constants.device(value))
        forms = self._forms[id(value)]
        if "d" not in forms:
            convert = self._writer.bind("x", to_device)
            self._convert(value, "d", convert, forms["h"])
        return forms["d"]

    def _host(self, value: Value) -> str:
        if self._writer.arrays.is_host:
            return self._device(value)
        if value.constant:
            return self._writer.bind("c", self._writer.constants.host(value))
        forms = self._forms[id(value)]
        if "h" not in forms:
            convert = self._writer.bind("x", to_host)
            self._convert(value, "h", convert, forms["d"])
        return forms["h"]

    def _convert(self, value: Value, form: str, convert: str, source: str) -> None:
        arrays = self._writer.bind("x", self._writer.arrays)
        type_ = self._writer.bind("t", value.type)
        target = self._define(value, form)
        self._line(f" {target} = {convert}({arrays}, {source}, {type_})")

    def _delete(self, values: list[Value]) -> None:
        names = [name for v in values for name in self._forms.pop(id(v), {}).values()]
        if names:
            self._line(f" del {', '.join(names)}")

    def _line(self, text: str, label: str = "") -> None:
        self._lines.append(text)
        if label:
            self.labels[len(self._lines)] = label


def _distinct(step: Step) -> list[Value]:
    """The values that a step touches, constants aside, each once."""
    found = {id(v): v for v in (*step.args, *step.outputs) if v is not None and not v.constant}
    for block in step.blocks:
        found.update({id(v): v for v in block.captures()})
    return list(found.values())


def _last_uses(block: Block) -> dict[int, int]:
    last: dict[int, int] = {}
    for index, step in enumerate(block.steps):
        for value in _distinct(step):
            last[id(value)] = index
    for result in block.results:
        if result is not None:
            last[id(result)] = len(block.steps)
    return last


def move_shape_arithmetic(block: Block, arrays: Arrays) -> None:
    """Put on the host what only computes the inputs that kernels want there.

    A step moves if all it reads is constant or on the host already, and everybody who reads its
    outputs wants them on the host, or somebody does and they are no results of the block: to copy
    a small array to the device does not wait for it, as the way back does.
    """
    for step in block.steps:
        for inner in step.blocks:
            move_shape_arithmetic(inner, arrays)
    if arrays.is_host:
        return
    at_hand: set[int] = set()
    able: set[int] = set()
    for step in block.steps:
        ready = step.moved is not None and all(
            v is None or v.constant or id(v) in at_hand for v in step.args
        )
        if ready:
            able.add(id(step))
        if ready or step.host_result:
            at_hand.update(id(v) for v in step.outputs if v is not None)
    results = {id(v) for v in block.results if v is not None}
    on_device, on_host = set(results), set[int]()
    for step in reversed(block.steps):
        made = {id(v) for v in step.outputs if v is not None}
        wanted_here = not made.isdisjoint(on_device)
        useful = not wanted_here or (not made.isdisjoint(on_host) and made.isdisjoint(results))
        if useful and id(step) in able and step.moved is not None:
            step.function, step.keywords = step.moved()
            step.on_host = step.host_result = step.folded = True
        elif not wanted_here and step.host_result and not step.host_only:
            step.folded = True
        for position, value in enumerate(step.args):
            if value is not None:
                (on_host if step.wants_host(position) else on_device).add(id(value))
        for inner in step.blocks:
            on_device.update(id(v) for v in inner.captures())
