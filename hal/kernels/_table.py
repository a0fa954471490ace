"""Kernel tables: rows of (operator, version, types) and the function that computes them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar, Union

import numpy as np

from hal.graph import Dim
from hal.types import ElementType

__all__ = ["KernelTable", "NodeInfo", "Row", "Types"]

Types = Union[Collection[str], Mapping[str, Collection[str]], None]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Key = tuple[str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class NodeInfo:
    """What is known of a node when it is compiled."""

    name: str
    op_type: str
    domain: str
    version: int
    """The operator's since_version; for a domain without schemas the row's."""
    opset: int
    """The version of the domain that the model (or function body) imports."""
    input_types: tuple[str, ...]
    output_types: tuple[str, ...]
    outputs: int
    """How many outputs are wanted: the position of the last one that is used."""
    input_shapes: tuple[tuple[Dim, ...] | None, ...]
    """Only shapes that are sure: constants, and graph inputs, which are checked when fed."""
    constants: Sequence[Any]
    """The constant inputs as arrays (on the host for a `host` input), None for the others. Each is
    made when it is asked for."""
    attributes: Mapping[str, Any]
    """The node's attributes over the defaults of the standard."""
    arrays: Any = None
    """The `Arrays` of this compilation, for kernels that make arrays out of no array."""

    @property
    def label(self) -> str:
        """The operator with its version, as messages name it: "Softmax-13"."""
        prefix = f"{self.domain}::" if self.domain else ""
        return f"{prefix}{self.op_type}-{self.version}"


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One row of a table. See the package's docstring for what each field means."""

    op_type: str
    domain: str
    version: int
    function: Callable[..., Any]
    specialized: bool
    types: Mapping[str, frozenset[str]]
    """Type strings by constraint; the key "" holds those of all inputs. Empty: anything."""
    host: frozenset[int]
    host_only: bool
    deterministic: bool
    attributes: frozenset[str] | None
    """The attributes it takes; None for all."""
    required: frozenset[str]
    keywords: frozenset[str]
    """The keyword-only parameters of `function`."""
    arity: tuple[int, int]
    """Positional parameters: those without a default, and all (-1: any number)."""
    output_types: Callable[[NodeInfo], Sequence[str]] | None


class KernelTable:
    """Rows by operator. Kernels are added with the decorators `kernel` and `specialized`."""

    def __init__(self) -> None:
        self._rows: dict[_Key, list[Row]] = {}

    def __iter__(self) -> Iterator[Row]:
        for rows in self._rows.values():
            yield from rows

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def kernel(
        self,
        op_type: str,
        *versions: int,
        domain: str = "",
        types: Types = None,
        host: Collection[int] = (),
        host_only: bool = False,
        deterministic: bool = True,
        attributes: Collection[str] | None = None,
        output_types: Callable[[NodeInfo], Sequence[str]] | None = None,
    ) -> Callable[[_Function], _Function]:
        """Register a plain kernel for exact operator versions. Raises ValueError for no version, an
        unknown element type, or a function whose signature is no kernel's."""
        return self._decorator(
            op_type,
            versions,
            specialized=False,
            domain=domain,
            types=_normalized(types),
            host=frozenset(host),
            host_only=host_only,
            deterministic=deterministic,
            attributes=attributes,
            output_types=output_types,
        )

    def specialized(
        self,
        op_type: str,
        *versions: int,
        domain: str = "",
        types: Types = None,
        host: Collection[int] = (),
        host_only: bool = False,
        deterministic: bool = True,
        attributes: Collection[str] | None = None,
        output_types: Callable[[NodeInfo], Sequence[str]] | None = None,
    ) -> Callable[[_Function], _Function]:
        """Register a function of NodeInfo that returns the kernel to call. Raises like `kernel`."""
        return self._decorator(
            op_type,
            versions,
            specialized=True,
            domain=domain,
            types=_normalized(types),
            host=frozenset(host),
            host_only=host_only,
            deterministic=deterministic,
            attributes=attributes,
            output_types=output_types,
        )

    def update(self, other: KernelTable) -> None:
        """Take all rows of another table; they stand behind those of the same operator here."""
        for row in other:
            self._rows.setdefault((row.domain, row.op_type), []).append(row)

    def rows(self, domain: str, op_type: str, version: int) -> tuple[Row, ...]:
        """The rows of exactly this version, in the order they were added."""
        rows = self._rows.get((domain, op_type), ())
        return tuple(row for row in rows if row.version == version)

    def versions(self, domain: str, op_type: str) -> tuple[int, ...]:
        """The versions of an operator that have a row, sorted."""
        return tuple(sorted({row.version for row in self._rows.get((domain, op_type), ())}))

    def _decorator(
        self,
        op_type: str,
        versions: tuple[int, ...],
        *,
        specialized: bool,
        domain: str,
        attributes: Collection[str] | None,
        **fields: Any,
    ) -> Callable[[_Function], _Function]:
        if not versions:
            raise ValueError(f"{op_type}: name at least one version")
        domain = "" if domain == "ai.onnx" else domain

        def register(function: _Function) -> _Function:
            shape = _signature(op_type, function, specialized, attributes)
            for version in versions:
                row = Row(op_type, domain, version, function, specialized, **shape, **fields)
                self._rows.setdefault((domain, op_type), []).append(row)
            return function

        return register


def _signature(
    op_type: str,
    function: Callable[..., Any],
    specialized: bool,
    attributes: Collection[str] | None,
) -> dict[str, Any]:
    """The fields of a Row that the function's own signature says."""
    if isinstance(function, np.ufunc):  # which inspect knows only from NumPy 2.4 on
        least = most = function.nin
        return {
            "attributes": frozenset(attributes or ()),
            "required": frozenset(),
            "keywords": frozenset(),
            "arity": (least, most),
        }
    keywords: set[str] = set()
    required: set[str] = set()
    least = most = 0
    takes_all = False
    for parameter in inspect.signature(function).parameters.values():
        bare = parameter.default is parameter.empty
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_all = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            most = -1
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords.add(parameter.name)
            if bare and parameter.name != "node":
                required.add(parameter.name)
        else:
            least += bare
            most += 1
    if specialized and (least, most) != (1, 1):
        raise ValueError(f"{op_type}: a specialized kernel takes one argument, the NodeInfo")
    names = (keywords - {"node"}) | set(attributes or ())
    return {
        "attributes": None if takes_all else frozenset(names),
        "required": frozenset(required),
        "keywords": frozenset(keywords),
        "arity": (0, -1) if specialized else (least, most),
    }


def _normalized(types: Types) -> dict[str, frozenset[str]]:
    if types is None:
        return {}
    if isinstance(types, Mapping):
        return {name: frozenset(map(_type_string, found)) for name, found in types.items()}
    if isinstance(types, str):
        raise ValueError(f"types is a set of names, not the string {types!r}")
    return {"": frozenset(map(_type_string, types))}


def _type_string(name: str) -> str:
    if "(" in name:
        return name.replace(" ", "")
    try:
        return f"tensor({ElementType.from_onnx_name(name).onnx_name})"
    except KeyError:
        raise ValueError(f"{name!r} is no ONNX element type") from None
