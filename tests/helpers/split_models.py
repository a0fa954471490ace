"""Models and accelerators that splitting is tried on."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

F = TensorProto.FLOAT
DEVICES = ("example:cpu", "lame:npu")

LAME = '''
"""An accelerator that has what hal-example lacks, and little else."""
import numpy as np
import hal
from hal.kernels import KernelBackend, KernelTable, NumpyArrays

table = KernelTable()
table.kernel("Tanh", 6, 13)(np.tanh)
table.kernel("Sign", 9, 13)(np.sign)
table.kernel("Floor", 6, 13)(np.floor)
table.kernel("Add", 7, 13, 14)(np.add)
table.kernel("Abs", 6, 13)(np.abs)
table.kernel("Halve", 1, domain="made.up")(lambda x: x / 2)

@hal.hookimpl
def hal_backends():
    device = hal.Device("lame:npu", "npu", name="An accelerator that lacks operators")
    backend = KernelBackend([device], table, NumpyArrays())
    yield hal.BackendSpec("lame", lambda: backend, abilities=backend.abilities)
'''


def only(site: Any, monkeypatch: pytest.MonkeyPatch, name: str, plugin: str, *more: str) -> None:
    """hal-example, this plugin and `more` alone: asking every device takes long."""
    site.add(f"hal-{name}", plugin)
    every = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **by: [
            e for e in every(**by) if by["group"] != "hal" or e.name in ("example", name, *more)
        ],
    )


W = numpy_helper.from_array(np.array([0.25, -1.0], np.float32), "w")


def proto(nodes: Sequence[Any], outputs: Sequence[str], **given: Any) -> onnx.ModelProto:
    value_info = [helper.make_tensor_value_info(n, F, [2]) for n in given.pop("values", ())]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, F, [2]) for n in ("x", "y")],
        [helper.make_tensor_value_info(n, F, [2]) for n in outputs],
        given.pop("initializers", []),
        value_info=value_info,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("made.up", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, **given)


FEEDS = {"x": np.array([1.5, -2.25], np.float32), "y": np.array([0.5, 3.0], np.float32)}


def two_devices() -> onnx.ModelProto:
    return proto(
        [
            helper.make_node("Mul", ["x", "w"], ["a"], "scale"),
            helper.make_node("Tanh", ["a"], ["b"], "squash"),
            helper.make_node("Sub", ["b", "w"], ["c"], "shift"),
        ],
        ["c", "y", "c"],
        initializers=[W],
    )
