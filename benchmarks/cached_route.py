"""What a second `hal.load` costs beyond the engine's own load.

    python benchmarks/cached_route.py [--repeat N] [--sizes MIB ...]

For matrix products of several sizes, their weights inside the file and outside it: a route is
decided once, in a store of the benchmark's own; then fresh processes load the model again. "hal" is
the time of `hal.load` without what any engine's own load takes too: "read", the model's file into
memory, and "engine", importing the runtime and compiling. All are medians over the processes, with
the spread of "hal"; "import" is that of `import hal.session` before it. The bound to hold
(docs/routing.md): 20 ms, for a model of any size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LOAD = """
import json, sys, time
start = time.perf_counter()
import hal.session
imported = time.perf_counter() - start
import hal.routing._load as load
from hal.model import Model
def timed(name, call):
    spent[name] = 0.0
    def wrapped(*arguments, **named):
        start = time.perf_counter()
        try:
            return call(*arguments, **named)
        finally:
            spent[name] += time.perf_counter() - start
    return wrapped
spent = {}
load.open_engine = timed("engine", load.open_engine)
Model.from_path = timed("read", Model.from_path)
start = time.perf_counter()
session = hal.session.load(sys.argv[1])
beyond = time.perf_counter() - start - sum(spent.values())
found = {**spent, "hal": beyond, "import": imported}
print(json.dumps([found, session.route.cached, session.device]))
"""


def model(path: Path, mib: int, *, outside: bool) -> None:
    """One matrix product with a weight of that many MiB."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rows = 4096
    array = np.full((rows, mib * 64), 1e-3, np.float32)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "n")],
        "g",
        [value("x", TensorProto.FLOAT, [1, rows])],
        [value("y", TensorProto.FLOAT, [1, mib * 64])],
        [numpy_helper.from_array(array, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    where = {"save_as_external_data": True, "location": f"{path.stem}.bin"} if outside else {}
    onnx.save(proto, path, **where)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 100, 1000])
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores; milliseconds", flush=True)
    line = "{:>9} {:<8} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7}  {}".format
    header = ("weights", "where", "decided", "hal", "spread", "read", "engine", "import", "device")
    print(line(*header))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HAL_HOME"] = str(Path(folder) / "home")
        for mib in arguments.sizes:
            for outside in (False, True):
                path = Path(folder) / f"m{mib}{'x' if outside else ''}.onnx"
                model(path, mib, outside=outside)
                time.sleep(2.5)  # a file that has just been written is not known by its times
                start = time.perf_counter()
                fresh(path)
                decided = time.perf_counter() - start
                again = [fresh(path) for _ in range(arguments.repeat)]
                if not all(cached for _, cached, _ in again):
                    sys.exit("a second load did not take the route from the store")
                own = [found["hal"] for found, *_ in again]
                names = ("hal", "read", "engine", "import")
                medians = {n: statistics.median(f[n] for f, *_ in again) * 1e3 for n in names}
                shown = [f"{medians[n]:.1f}" for n in names]
                shown.insert(1, f"{max(own) / min(own):.2f}")
                where = "outside" if outside else "inside"
                print(
                    line(f"{mib} MiB", where, f"{decided:.1f} s", *shown, again[0][2]), flush=True
                )
                for file in Path(folder).glob(f"{path.stem}.*"):
                    file.unlink()


def fresh(path: Path) -> tuple[dict[str, float], bool, str]:
    """One load in a process of its own: seconds by name, whether it was stored, the device."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True
    )
    found, cached, device = json.loads(done.stdout.splitlines()[-1])
    return found, cached, device


if __name__ == "__main__":
    main()
