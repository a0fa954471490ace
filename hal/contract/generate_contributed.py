"""Writes the data file of com.microsoft: `python -m hal.contract.generate_contributed`.

Only onnxruntime has the schemas of this domain. The file is committed; a test holds it equal to
what the pinned onnxruntime registers.
"""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from typing import Any

from hal.contract._codec import CONTRIBUTED_FILE_NAME, CONTRIBUTED_VERSION, dump, encode
from hal.contract.model import (
    CONTRIBUTED_DOMAIN,
    Attribute,
    AttributeDefault,
    Operator,
    Parameter,
    TypeConstraint,
)
from hal.errors import DataError, HalError

__all__ = ["build_contributed", "main"]


def build_contributed() -> bytes:
    """The JSON as the installed onnxruntime gives it. Raises DataError if that is another than the
    pinned one."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if onnxruntime.__version__ != CONTRIBUTED_VERSION:
        raise DataError(
            f"{CONTRIBUTED_DOMAIN} is read from onnxruntime {CONTRIBUTED_VERSION}, "
            f"{onnxruntime.__version__} is installed",
            next_step=f"pip install onnxruntime=={CONTRIBUTED_VERSION}",
        )
    schemas = [s for s in state.get_all_operator_schema() if s.domain == CONTRIBUTED_DOMAIN]
    return encode([_operator(s) for s in schemas], {}, onnxruntime.__version__)


def main(path: str | None = None) -> int:
    """Write the data file beside this module, or to `path`."""
    target = Path(path) if path else Path(__file__).with_name(CONTRIBUTED_FILE_NAME)
    try:
        target.write_bytes(dump(build_contributed()))
    except (HalError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code if isinstance(error, HalError) else 4
    sys.stdout.write(f"{target}\n")
    return 0


def _operator(schema: Any) -> Operator:
    constraints = tuple(
        TypeConstraint(c.type_param_str, tuple(sorted(c.allowed_type_strs)))
        for c in schema.type_constraints
    )
    return Operator(
        name=schema.name,
        domain=schema.domain,
        since_version=schema.since_version,
        # bert_defs.cc and its neighbours: the only grouping that there is.
        family=PurePosixPath(schema.file.replace("\\", "/")).stem.removesuffix("_defs"),
        inputs=tuple(_parameter(p) for p in schema.inputs),
        outputs=tuple(_parameter(p) for p in schema.outputs),
        min_inputs=schema.min_input,
        max_inputs=schema.max_input,
        min_outputs=schema.min_output,
        max_outputs=schema.max_output,
        attributes=tuple(
            Attribute(a.name, a.type.name, a.required, _default(a._default_value))
            for a in sorted(schema.attributes.values(), key=lambda a: str(a.name))
        ),
        constraints=constraints,
        determinism="unknown",
        deprecated=schema.deprecated,
        experimental=schema.support_level.name == "EXPERIMENTAL",
        latest=not schema.deprecated,
    )


def _parameter(parameter: Any) -> Parameter:
    return Parameter(
        parameter.name,
        parameter.typeStr,
        tuple(sorted(parameter.types)),
        parameter.option.name.lower(),
        parameter.isHomogeneous,
    )


def _default(serialised: bytes) -> AttributeDefault:
    from onnx import AttributeProto

    from hal.contract.generate import plain_default

    return plain_default(AttributeProto.FromString(serialised))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
