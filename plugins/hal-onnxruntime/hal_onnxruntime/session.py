"""The public face for plugins whose engine is an execution provider in a plugin library, such as
hal-qnn: how hal-onnxruntime registers a library, opens a session, runs it and reads its record.

Importing it imports onnxruntime. Each name is described where it is defined.
"""

from __future__ import annotations

from hal_onnxruntime._options import provider_options, session_options
from hal_onnxruntime._placement import Record, assignment, placed
from hal_onnxruntime._plugins import plugin_devices
from hal_onnxruntime._session import OrtExecutable, open_session
from hal_onnxruntime._start import FATAL, PROBE_MODEL, tried
from hal_onnxruntime._support import refusal, support

__all__ = [
    "FATAL",
    "PROBE_MODEL",
    "OrtExecutable",
    "Record",
    "assignment",
    "open_session",
    "placed",
    "plugin_devices",
    "provider_options",
    "refusal",
    "session_options",
    "support",
    "tried",
]
