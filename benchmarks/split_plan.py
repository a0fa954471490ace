"""How long planning a split takes, over random graphs of a made-up size on made-up devices.

No backend is asked: which nodes a device takes is drawn too. Printed are the seconds of reading the
model, of cutting it (`Source`), and of the plan, costs included.

    python benchmarks/split_plan.py [--nodes 10000] [--devices 2 3 5]
"""

from __future__ import annotations

import argparse
import random
import time

from onnx import TensorProto, helper

import hal
from hal.device import Device
from hal.graph import read_model
from hal.routing import Candidate
from hal.split._capability import Capability
from hal.split._plan import Place, make_plan
from hal.split._source import Source

SHAPE = [16, 64]
OPERATORS = {"Relu": 1, "Tanh": 1, "Abs": 1, "Neg": 1, "Add": 2, "Mul": 2, "Sub": 2, "Max": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--devices", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{'graph':10} {'devices':>7} {'parts':>6} {'read s':>7} {'cut s':>7} {'plan s':>7}")
    for form in ("random", "chain"):
        for devices in arguments.devices:
            draw = random.Random(arguments.seed)
            model = graph(arguments.nodes, form, draw)
            start = time.perf_counter()
            read = read_model(model)
            at_read = time.perf_counter()
            source = Source(model, read)
            at_cut = time.perf_counter()
            found = make_plan(source, places(source, devices, draw), {})
            end = time.perf_counter()
            print(
                f"{form:10} {devices:7} {len(found.parts):6} {at_read - start:7.2f} "
                f"{at_cut - at_read:7.2f} {end - at_cut:7.2f}"
            )


def graph(count: int, form: str, draw: random.Random) -> hal.Model:
    """Nodes that read from one of the last nodes, the last itself in a chain; named."""
    nodes, values = [], ["x"]
    for index in range(count):
        operator, inputs = draw.choice(list(OPERATORS.items()))
        reach = 1 if form == "chain" else 40
        read = [draw.choice(values[-reach:]) for _ in range(inputs)]
        nodes.append(helper.make_node(operator, read, [f"v{index}"], f"n{index}"))
        values.append(f"v{index}")
    info = [helper.make_tensor_value_info(v, TensorProto.FLOAT, SHAPE) for v in values]
    read_ones = {name for node in nodes for name in node.input}
    outputs = [i for i in info[1:] if i.name not in read_ones]
    made = helper.make_graph(nodes, "g", info[:1], outputs, value_info=info[1:])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return hal.Model(model.SerializeToString())


def places(source: Source, count: int, draw: random.Random) -> list[Place]:
    """Devices that lack one operator in three each, the first one never what all others lack; one
    node in fifty is for one device alone."""
    operators = list(OPERATORS)
    lacking = [set(draw.sample(operators, len(operators) // 3)) for _ in range(count)]
    lacking[0] -= set.intersection(*lacking)
    alone = {i: draw.randrange(count) for i in range(len(source.nodes)) if not draw.randrange(50)}
    found = []
    for number in range(count):
        lacks = {
            index: "drawn"
            for index, node in enumerate(source.nodes)
            if alone.get(index, number) != number
            or (index not in alone and node.op_type in lacking[number])
        }
        device = Device(f"made{number}:npu", "npu" if number else "cpu")
        found.append(Place(Candidate(device), 1.0 - number / 10, Capability(lacks)))
    return found


if __name__ == "__main__":
    main()
