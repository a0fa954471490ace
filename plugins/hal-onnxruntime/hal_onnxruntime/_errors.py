"""What ONNX Runtime's exceptions mean, in HAL's errors.

Its classes tell the status code; its messages tell the rest. The table of patterns is tried from
the top, and what no row knows is an ExecutionError in its own words.
"""

from __future__ import annotations

import dataclasses
import re

from hal.errors import (
    ExecutionError,
    FallbackError,
    HalError,
    ModelError,
    SkewError,
    UnfedError,
    UnsupportedError,
    UsageError,
)

__all__ = ["explain", "words"]


@dataclasses.dataclass(frozen=True)
class _Row:
    """`status` is the name of the exception's class, "" for any; `pattern` is searched in the
    message, and its group `node` names the node at fault."""

    status: str
    pattern: str
    error: type[HalError]


_NODE = r"operator \([^)]*\) in node \((?P<node>[^)]*)\)"
_IN_NODE = r"In Node, \(\"(?P<node>[^\"]*)\", \w+"

_REFUSED = (
    r"\b(?:not (?:yet |currently )?(?:supported|implemented)|[Uu]nsupported"
    r"|doesn't support|does not support)\b"
)

_ROWS = (
    _Row("", r"Unsupported model IR version", SkewError),
    _Row("", r"only \*guarantees\* support for models stamped with official released", SkewError),
    _Row("", r"fallback to (the )?CPU EP has been explicitly disabled", FallbackError),
    _Row("", r"can't be converted to MLDataType|No corresponding Numpy type", UnfedError),
    _Row("", r"Invalid \w+ EP option|Unknown provider option", UsageError),
    _Row("InvalidProtobuf", r"", ModelError),
    _Row("", r"No graph was found in the protobuf", ModelError),
    _Row(
        "NotImplemented",
        r"implementation for \S+ node with name '(?P<node>[^']*)'",
        UnsupportedError,
    ),
    _Row("NotImplemented", r"Name:'(?P<node>[^']*)'", UnsupportedError),
    _Row("NotImplemented", r"", UnsupportedError),
    _Row("", _IN_NODE + r".*No Op registered for", UnsupportedError),
    _Row("", _IN_NODE + r".*No opset import for domain", UnsupportedError),
    _Row("", _IN_NODE + r".*Unrecognized attribute", UnsupportedError),
    _Row("", r"is not a registered function/op", UnsupportedError),
    _Row("", r"MLDataType for: .* is not currently registered or supported", UnsupportedError),
    _Row("InvalidArgument", r"Invalid tensor data type", UnsupportedError),
    _Row(
        "InvalidGraph", r"Type '[^']*' of (input|output) parameter .* of " + _NODE, UnsupportedError
    ),
    # What it says of a node when it makes its kernel, or runs it.
    _Row("", r"Name:'(?P<node>[^']*)' Status Message: .*" + _REFUSED, UnsupportedError),
    _Row("", _REFUSED, UnsupportedError),
)

_CODE = re.compile(r"^(\[ONNXRuntimeError\] : \d+ : \w+ : )+")
# "/path/file.cc:46 void name(arguments) const [with T = x] " before the message proper.
_PLACE = re.compile(
    r"/\S+\.(?:cc|h|cpp):\d+ [^\n(]*(?:\((?:[^()]|\([^()]*\))*\)(?:::<lambda)?>?)+"
    r"(?: const)?(?: \[with [^\]]*\])? "
)


def words(error: BaseException) -> str:
    """ONNX Runtime's message without its code and the place in its source."""
    text = _PLACE.sub("", _CODE.sub("", str(error)))
    return " ".join(text.split()) or type(error).__name__


def explain(error: BaseException) -> HalError:
    """The HAL error that an exception of ONNX Runtime means, in its own words."""
    status, message = type(error).__name__, str(error)
    for row in _ROWS:
        if row.status and row.status != status:
            continue
        found = re.search(row.pattern, message, re.DOTALL)
        if found:
            return _made(row.error, words(error), found.groupdict().get("node") or "")
    return ExecutionError(words(error))


def _made(kind: type[HalError], message: str, node: str) -> HalError:
    if issubclass(kind, UnsupportedError):
        return kind(message, nodes=[node] if node else [])
    return kind(message)
