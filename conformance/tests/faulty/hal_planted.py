"""onnxruntime with one node made wrong a device, by the environment variable HAL_PLANTS.

It holds JSON: for each index of a device the kind of fault and the names of the nodes it takes. The
node is as wrong in a part of the model as in the whole, because its kernel is what is wrong.
"""

import ctypes
import json
import os

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hal import BackendSpec, Device, Model, hookimpl

PLANTS = "HAL_PLANTS"

# Each gives nodes that compute `output` from `right`, the result as it should be; `name` is unique.
FAULTS = {
    "reversed": lambda right, output, name: [
        ("Slice", [right, [-1], [np.iinfo(np.int64).min], [-1], [-1]], output)
    ],
    "clipped": lambda right, output, name: [("Min", [right, np.float32(0.1)], output)],
    "coarse": lambda right, output, name: [
        ("Mul", [right, np.float32(64)], f"{name}/a"),
        ("Round", [f"{name}/a"], f"{name}/b"),
        ("Div", [f"{name}/b", np.float32(64)], output),
    ],
    "squashed": lambda right, output, name: [("Tanh", [right], output)],
    "slightly": lambda right, output, name: [
        ("Sin", [right], f"{name}/a"),
        ("Mul", [f"{name}/a", np.float32(0.001)], f"{name}/b"),
        ("Add", [right, f"{name}/b"], output),
    ],
    "inverted": lambda right, output, name: [("Not", [right], output)],
    "one more": lambda right, output, name: [("Add", [right, np.int64(1)], output)],
}


def plant(model, fault, target):
    """The model with that node's result made wrong, if it has that node."""
    graph = model.graph
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.name != target:
            continue
        output, right = node.output[0], f"{node.output[0]}/right"
        node.output[0] = right
        for number, (op, inputs, result) in enumerate(FAULTS[fault](right, output, target)):
            names = []
            for place, value in enumerate(inputs):
                if not isinstance(value, str):
                    tensor = numpy_helper.from_array(
                        np.asarray(value), f"{target}/{number}/{place}"
                    )
                    graph.initializer.append(tensor)
                    value = tensor.name
                names.append(value)
            nodes.append(helper.make_node(op, names, [result], name=f"{target}/{number}"))
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)


class Executable:
    def __init__(self, inner, fault):
        self.inner, self.fault = inner, fault

    def run(self, inputs):
        if self.fault == "crash":
            ctypes.string_at(0)
        if self.fault == "raise":
            raise RuntimeError("kernel not found")
        return self.inner.run(inputs)


class Backend:
    def __init__(self):
        import hal_onnxruntime

        (spec,) = hal_onnxruntime.hal_backends()
        self.inner = spec.factory()
        (self.device,) = [d for d in self.inner.devices() if d.id == "ort:cpu"]
        self.plants = json.loads(os.environ.get(PLANTS, "{}"))

    def devices(self):
        return [Device(f"planted:{index}", "cpu") for index in self.plants]

    def supports(self, device, model):
        return self.inner.supports(self.device, model)

    def compile(self, device, model, options):
        fault, *targets = self.plants[device.id.rpartition(":")[2]]
        proto = onnx.load_from_string(model.data)
        here = {node.name: node for node in proto.graph.node}
        planted = all(target in here for target in targets)
        if fault.startswith("fused "):
            # Two kernels in one: looked at between them, the engine runs them one by one, rightly.
            between = here[targets[0]].output[0] if planted else ""
            planted = planted and between not in {o.name for o in proto.graph.output}
        if planted and fault.rpartition(" ")[2] in FAULTS:
            plant(proto, fault.removeprefix("fused "), targets[-1])
        elif planted and fault in FAULTS:
            plant(proto, fault, targets[-1])
        inner = self.inner.compile(
            self.device, Model(proto.SerializeToString(), model.folder), options
        )
        return Executable(inner, fault if planted else "")


@hookimpl
def hal_backends():
    return [BackendSpec("planted", Backend, "wrong on purpose, in one node")]
