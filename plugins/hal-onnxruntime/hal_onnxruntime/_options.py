"""HAL's compile options for this backend, as ONNX Runtime's SessionOptions."""

from __future__ import annotations

from collections.abc import Mapping

import onnxruntime

from hal.backend import Option
from hal.errors import UsageError, did_you_mean
from hal.model import Model

__all__ = ["ERRORS", "FATAL", "provider_options", "session_options"]

_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
_MODES = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}
_OPTIONS = ("intra_op_threads", "inter_op_threads", "graph_optimization", "execution_mode")
_PROVIDER_PREFIX = "ep."
ERRORS, FATAL = 3, 4
"""onnxruntime's logging severities: errors on standard error as well, and not."""


def session_options(
    options: Mapping[str, Option], model: Model, *, refuse_fallback: bool
) -> onnxruntime.SessionOptions:
    """SessionOptions for a model; raises UsageError for an unknown option or value."""
    made = onnxruntime.SessionOptions()
    made.log_severity_level = FATAL  # an error is raised, in one line
    made.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if refuse_fallback:
        made.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if model.folder is not None:
        made.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(model.folder)
        )
    for name, value in options.items():
        if name == "intra_op_threads":
            made.intra_op_num_threads = _count(name, value)
        elif name == "inter_op_threads":
            made.inter_op_num_threads = _count(name, value)
        elif name == "graph_optimization":
            level = _choice(name, value, _LEVELS)
            made.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        elif name == "execution_mode":
            made.execution_mode = getattr(onnxruntime.ExecutionMode, _choice(name, value, _MODES))
        elif not name.startswith(_PROVIDER_PREFIX):
            known = ", ".join(_OPTIONS)
            raise UsageError(
                f"ort has no option {name!r}.{did_you_mean(name, _OPTIONS)}",
                next_step=f"use one of {known}, or {_PROVIDER_PREFIX}KEY for a provider's own",
            )
    return made


def provider_options(options: Mapping[str, Option]) -> dict[str, str]:
    """The execution provider's own options: those named "ep.KEY", as it takes them."""
    return {
        name[len(_PROVIDER_PREFIX) :]: str(int(value)) if isinstance(value, bool) else str(value)
        for name, value in options.items()
        if name.startswith(_PROVIDER_PREFIX)
    }


def _count(name: str, value: Option) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(
            f"option {name} takes a count, 0 for onnxruntime's own choice, got {value!r}"
        )
    return value


def _choice(name: str, value: Option, choices: Mapping[str, str]) -> str:
    try:
        return choices[str(value)]
    except KeyError:
        raise UsageError(
            f"option {name} takes {', '.join(choices)}, got {value!r}."
            f"{did_you_mean(str(value), choices)}"
        ) from None
