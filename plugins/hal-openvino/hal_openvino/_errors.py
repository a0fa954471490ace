"""What OpenVINO's exceptions mean, in HAL's errors. They are all of one class: words decide."""

from __future__ import annotations

import re

from hal.errors import ExecutionError, HalError, ModelError, UnsupportedError, UsageError

__all__ = ["explain", "refused_operators", "words"]

_PLACE = re.compile(
    r"(Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:|While validating node '[^\n]*?':)\n",
    re.DOTALL,
)
_ADVICE = re.compile(r"To facilitate the conversion of unsupported operations.*", re.DOTALL)
_REFUSED_OPERATORS = re.compile(r"No conversion rule found for operations: ([^\n]*)")
_REFUSED = re.compile(
    r"\b(not (yet |currently )?(supported|implemented)|unsupported|only supported"
    r"|doesn't support|does not support|No conversion rule)\b",
    re.IGNORECASE,
)
_NODE = re.compile(r"<Node\([^)]*\): ([^>]+)>")
_NO_PROPERTY = re.compile(r"Unsupported property|Wrong value .* for property")
_NO_MODEL = re.compile(r"Unable to read the model|Error during import of ONNX model")


def words(error: BaseException) -> str:
    """OpenVINO's message without the places in its source and its advice."""
    text = _ADVICE.sub("", _PLACE.sub("", str(error)))
    return " ".join(text.split()) or " ".join(str(error).split()) or type(error).__name__


def refused_operators(error: BaseException) -> tuple[str, ...]:
    """The operators for which it has no rule, as "Name" or "domain::Name"."""
    found = _REFUSED_OPERATORS.search(str(error))
    if not found:
        return ()
    names = (re.sub(r"-\d+$", "", name.strip()) for name in found[1].split(","))
    return tuple("::".join(name.rsplit(".", 1)) for name in names)


def explain(error: BaseException) -> HalError:
    """The HAL error that an exception of OpenVINO means, in its own words."""
    text = str(error)
    if _NO_PROPERTY.search(text):
        return UsageError(words(error))
    if _REFUSED.search(text):
        return UnsupportedError(words(error), nodes=_NODE.findall(text))
    if _NO_MODEL.search(text):
        return ModelError(words(error))
    return ExecutionError(words(error))
