"""What `hal.Session.run` costs over the engine's own call.

    python benchmarks/session_overhead.py [--isolate] [--device ID ...]

For an Add of four numbers, an MLP and a small convolutional net, and for each engine: the time of
the engine's own Python call on the model, that of `Session.run` on the same arrays, their
difference in microseconds and their ratio, with the spread of the rounds. With `--isolate` also
that of a session whose engine runs in a process of its own. Timed in blocks, as hal.timing says.
The bound to hold (docs/routing.md): at most 1 us or 10 %, whichever is larger.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.timing import Timing, time_blocks

Feeds = dict[str, np.ndarray[Any, Any]]
BLOCK = 0.02
"""Seconds of one timed call: a tiny model is run many times in it."""


def models() -> dict[str, tuple[bytes, Feeds]]:
    """The models with their feeds, by name."""
    rng = np.random.default_rng(7)

    def tensor(name: str, *shape: int) -> onnx.TensorProto:
        array = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)
        return numpy_helper.from_array(array.astype(np.float32), name)

    def model(nodes: list[Any], shape: list[int], initializers: list[Any]) -> tuple[bytes, Feeds]:
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            initializers,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return made.SerializeToString(), {"x": rng.standard_normal(shape).astype(np.float32)}

    node = helper.make_node
    return {
        "add-4": model([node("Add", ["x", "x"], ["y"])], [4], []),
        "mlp-256": model(
            [
                node("MatMul", ["x", "a"], ["h"]),
                node("Relu", ["h"], ["r"]),
                node("MatMul", ["r", "b"], ["y"]),
            ],
            [8, 256],
            [tensor("a", 256, 1024), tensor("b", 1024, 256)],
        ),
        "conv-64": model(
            [
                node("Conv", ["x", "a"], ["h"], pads=[1, 1, 1, 1]),
                node("Relu", ["h"], ["r"]),
                node("Conv", ["r", "b"], ["y"], pads=[1, 1, 1, 1]),
            ],
            [1, 32, 64, 64],
            [tensor("a", 64, 32, 3, 3), tensor("b", 64, 64, 3, 3)],
        ),
    }


def _ort(data: bytes, feeds: Feeds) -> Callable[[], object]:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def _openvino(data: bytes, feeds: Feeds) -> Callable[[], object]:
    from hal_openvino._compat import openvino

    core = openvino.Core()
    properties = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(data), "CPU", properties)
    request = compiled.create_infer_request()
    # Inputs shared, outputs copied: the results are the caller's, as they are in a session.
    return lambda: request.infer(feeds, share_inputs=True, share_outputs=False)


def _torch(data: bytes, feeds: Feeds) -> Callable[[], object]:
    import torch
    from hal_torch.backend import TorchBackend

    backend = TorchBackend()
    device = next(d for d in backend.devices() if d.id == "torch:cpu")
    run = backend.compile(device, hal.Model(data), {}).run_arrays

    def call() -> list[Any]:
        given = {name: torch.from_numpy(array) for name, array in feeds.items()}
        # In C order, as a session's results are; a convolution leaves its channels last.
        return [result.contiguous().numpy() for result in run(given).values()]

    return call


OWN = {"ort:cpu": _ort, "openvino:cpu": _openvino, "torch:cpu": _torch}


def repeated(call: Callable[[], object], count: int) -> Callable[[], object]:
    """`count` calls as one."""

    def many() -> None:
        for _ in range(count):
            call()

    return many


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", nargs="*", default=list(OWN), choices=list(OWN))
    parser.add_argument("--isolate", action="store_true", help="also in a process of its own")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores; microseconds a run")
    header = ("model", "device", "how", "own", "hal", "more", "ratio", "spread", "bound")
    line = "{:<8} {:<13} {:<10} {:>9} {:>9} {:>8} {:>6} {:>6}  {}".format
    print(line(*header))
    for name, (data, feeds) in models().items():
        for device in arguments.device:
            own = OWN[device](data, feeds)
            sessions = {"in process": hal.load(data, device=device)}
            if arguments.isolate:
                sessions["isolated"] = hal.load(data, device=device, isolate=True)
            calls = {"own": own}
            calls |= {how: _session_call(s, feeds) for how, s in sessions.items()}
            once = time_blocks(calls)
            count = max(1, round(BLOCK / min(t.median for t in once.values())))
            found = time_blocks({k: repeated(c, count) for k, c in calls.items()}, rounds=5)
            for how, session in sessions.items():
                figures = _figures(found["own"], found[how], count)
                bound = figures[-1] if how == "in process" else ""
                print(line(name, device, how, *figures[:-1], bound), flush=True)
                session.close()


def _session_call(session: hal.Session, feeds: Feeds) -> Callable[[], object]:
    run = session.run
    return lambda: run(None, feeds)


def _figures(own: Timing, ours: Timing, count: int) -> tuple[str, ...]:
    a, b = own.median / count * 1e6, ours.median / count * 1e6
    held = "held" if b - a <= max(1.0, 0.1 * a) else "OVER"
    spread = max(own.spread, ours.spread)
    return f"{a:.2f}", f"{b:.2f}", f"{b - a:+.2f}", f"{b / a:.3f}", f"{spread:.2f}", held


if __name__ == "__main__":
    main()
