"""Who reads what in a block."""

from __future__ import annotations

from hal.kernels.rewriting import Block, Step, Value

__all__ = ["Uses"]


class Uses:
    """Who reads each value of a block."""

    def __init__(self, block: Block) -> None:
        self._readers: dict[int, list[Step | None]] = {}
        self.taken: set[int] = set()
        """Steps that are part of a chain."""
        for step in block.steps:
            inner = [v for b in step.blocks for v in b.captures()]
            for value in (*step.args, *inner):
                if value is not None:
                    self._readers.setdefault(id(value), []).append(None if inner else step)
        for value in block.results:
            if value is not None:
                self._readers.setdefault(id(value), []).append(None)

    def readers(self, value: Value | None) -> list[Step | None]:
        """Each reading of a value; None for one by an inner block or as a result."""
        return self._readers.get(id(value), [])

    def only_reader(self, value: Value | None) -> Step | None:
        """The one step that reads a value, if one reads it, once, and none takes it yet."""
        readers = self.readers(value)
        if len(readers) != 1 or readers[0] is None or id(readers[0]) in self.taken:
            return None
        return readers[0]
