"""The engines that torch_latency.py compares, and one of them alone in a fresh process.

    python benchmarks/torch_probe.py ort|eager|compile MODEL.onnx INPUTS.npz THREADS

It imports nothing that the engine does not need, so that memory is the engine's own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["engine"]

Inputs = dict[str, np.ndarray[Any, np.dtype[Any]]]


def engine(name: str, path: Path, inputs: Inputs, threads: int) -> Any:
    """A call without arguments, over inputs that are in place."""
    return (
        _onnxruntime(path, inputs, threads)
        if name == "ort"
        else _torch(name, path, inputs, threads)
    )


def _onnxruntime(path: Path, inputs: Inputs, threads: int) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def _torch(mode: str, path: Path, inputs: Inputs, threads: int) -> Any:
    import hal_torch

    (spec,) = hal_torch.hal_backends()
    import torch

    import hal

    torch.set_num_threads(threads)
    backend = spec.factory()
    device = next(d for d in backend.devices() if d.id == "torch:cpu")
    executable: Any = backend.compile(device, hal.Model.from_path(path), {"mode": mode})
    bound = executable.bind(inputs)

    def run() -> list[Any]:
        return [o.numpy() for o in bound.run()]

    return run


def main(name: str, path: str, inputs: str, threads: str) -> int:
    """Load a model after the engine is imported, run it twice, print what that took as JSON."""
    with np.load(inputs) as archive:
        fed = dict(archive)
    if name == "ort":
        import onnxruntime  # noqa: F401 (imported before the clock starts)
    else:
        import hal_torch

        hal_torch.hal_backends()[0].factory()
    imported = _resident("VmRSS")
    start = time.perf_counter()
    call = engine(name, Path(path), fed, int(threads))
    seconds = time.perf_counter() - start
    for _ in range(2):
        call()
    print(json.dumps({"load": seconds, "imported": imported, "peak": _resident("VmHWM")}))
    return 0


def _resident(field: str) -> float:
    """MiB of this process, now (VmRSS) or at most (VmHWM). ru_maxrss would have the parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
