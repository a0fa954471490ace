"""Writes the contract's data file from the pinned onnx package: `python -m hal.contract.generate`.

The file is committed; a test holds it equal to what the installed onnx gives.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hal.contract._codec import FILE_NAME, ONNX_VERSION, dump, encode
from hal.contract.model import (
    Attribute,
    AttributeDefault,
    Operator,
    Parameter,
    TypeConstraint,
    canonical_domain,
)
from hal.errors import DataError, HalError

__all__ = ["build", "main", "plain_default"]


def build() -> bytes:
    """The contract's JSON as the installed onnx gives it. Raises DataError if that is another
    than the pinned one.
    """
    import onnx
    from onnx import defs, helper

    if onnx.__version__ != ONNX_VERSION:
        raise DataError(
            f"the contract is made from onnx {ONNX_VERSION}, {onnx.__version__} is installed",
            next_step=f"pip install onnx=={ONNX_VERSION}",
        )
    schemas = list(defs.get_all_schemas_with_history())
    newest: dict[tuple[str, str], int] = {}
    for schema in schemas:
        name = (schema.domain, schema.name)
        newest[name] = max(newest.get(name, 0), schema.since_version)
    operators = [
        _operator(s, s.since_version == newest[s.domain, s.name] and not s.deprecated)
        for s in schemas
    ]
    domains = sorted({op.domain for op in operators})
    return encode(operators, _irs(helper.VERSION_TABLE, domains), onnx.__version__)


def main(path: str | None = None) -> int:
    """Write the data file beside this module, or to `path`."""
    target = Path(path) if path else Path(__file__).with_name(FILE_NAME)
    try:
        target.write_bytes(dump(build()))
    except (HalError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code if isinstance(error, HalError) else 4
    sys.stdout.write(f"{target}\n")
    return 0


def _operator(schema: Any, latest: bool) -> Operator:
    constraints = tuple(
        TypeConstraint(c.type_param_str, tuple(sorted(c.allowed_type_strs)))
        for c in schema.type_constraints
    )
    types = {c.name: c.types for c in constraints}
    return Operator(
        name=schema.name,
        domain=canonical_domain(schema.domain),
        since_version=schema.since_version,
        family=PurePosixPath(schema.file.replace("\\", "/")).parent.name,
        inputs=tuple(_parameter(p, types) for p in schema.inputs),
        outputs=tuple(_parameter(p, types) for p in schema.outputs),
        min_inputs=schema.min_input,
        max_inputs=schema.max_input,
        min_outputs=schema.min_output,
        max_outputs=schema.max_output,
        attributes=tuple(
            _attribute(a) for a in sorted(schema.attributes.values(), key=lambda a: str(a.name))
        ),
        constraints=constraints,
        function=(
            "context-dependent"
            if schema.has_context_dependent_function
            else "static"
            if schema.has_function
            else ""
        ),
        determinism=_DETERMINISM[schema.node_determinism.name],
        deprecated=schema.deprecated,
        experimental=schema.support_level.name == "EXPERIMENTAL",
        latest=latest,
    )


_DETERMINISM: Mapping[str, Any] = {
    "Deterministic": "deterministic",
    "NonDeterministic": "non-deterministic",
    "Unknown": "unknown",
}


def _parameter(parameter: Any, types: Mapping[str, tuple[str, ...]]) -> Parameter:
    return Parameter(
        parameter.name,
        parameter.type_str,
        types.get(parameter.type_str, (parameter.type_str,)),
        parameter.option.name.lower(),
        parameter.is_homogeneous,
        parameter.min_arity,
    )


def _attribute(attribute: Any) -> Attribute:
    return Attribute(
        attribute.name,
        attribute.type.name,
        attribute.required,
        plain_default(attribute.default_value),
    )


def plain_default(value: Any) -> AttributeDefault:
    """The default that an AttributeProto states, as the contract holds it; None if none."""
    from onnx import AttributeProto, helper

    if value.type == AttributeProto.UNDEFINED:
        return None
    plain = helper.get_attribute_value(value)
    if isinstance(plain, bytes):
        return plain.decode()
    if isinstance(plain, float):
        # Schemas hold float32: write the shortest decimal that reads back as the same float32.
        return float(f"{plain:.9g}") if plain != float(f"{plain:.7g}") else float(f"{plain:.7g}")
    if isinstance(plain, int):
        return plain
    return tuple(p.decode() if isinstance(p, bytes) else p for p in plain)


def _irs(table: Sequence[Sequence[Any]], domains: Sequence[str]) -> dict[str, list[list[int]]]:
    """Per domain, (opset, lowest IR that admits it) of every opset in onnx's table of releases.

    A domain without a column there (ai.onnx.preview) has no entry and asks for no IR of its own.
    """
    columns = {"ai.onnx": 2, "ai.onnx.ml": 3, "ai.onnx.preview.training": 4}
    irs: dict[str, list[list[int]]] = {}
    for domain in domains:
        column = columns.get(domain)
        lowest: dict[int, int] = {}
        for release in table if column else ():
            if column is not None and column < len(release):
                opset, ir = int(release[column]), int(release[1])
                lowest[opset] = min(ir, lowest.get(opset, ir))
        if lowest:
            irs[domain] = [list(pair) for pair in sorted(lowest.items())]
    return irs


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
