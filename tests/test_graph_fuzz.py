"""The fuzzer of the loader: a small seeded part of it, and that it sees what is wrong.

`python benchmarks/fuzz_loader.py` runs all of it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZER = Path(__file__).parents[1] / "benchmarks" / "fuzz_loader.py"

FRAIL = """
    import os
    import time
    import hal
    from hal.backend import Support

    class Executable:
        def run(self, inputs):
            return {}

    class Backend:
        compiled = 0

        def devices(self):
            return [hal.Device("frail:cpu", "cpu"), hal.Device("frail:npu", "npu")]

        def supports(self, device, model):
            return Support()

        def compile(self, device, model, options):
            self.compiled += 1
            if self.compiled > 2:  # the fuzzer's first models have been taken
                os.abort() if device.kind == "npu" else time.sleep(100)
            return Executable()

    backend = Backend()

    @hal.hookimpl
    def hal_backends():
        yield hal.BackendSpec("frail", lambda: backend)
"""


def fuzz(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, FUZZER, "--jobs", "1", *arguments], capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_a_small_part_of_it():
    code, said = fuzz("--structure", "120", "--bytes", "60", "--devices", "ort:cpu", "example:cpu")
    assert code == 0, said
    assert "0 crash, 0 hang, 0 traceback" in said
    assert "structure: 120 mutations" in said and "bytes: 60 mutations" in said
    for what in ("reading: ModelError", "ran", "loading: UnsupportedError"):
        assert f"  {what}\n" in said, what


def test_it_sees_crashes_and_hangs(site, monkeypatch):
    site.add("hal-frail", FRAIL)
    monkeypatch.syspath_prepend(str(FUZZER.parent))
    import fuzz_loader

    jobs = [("none", 0), ("none", 1)]
    found = fuzz_loader.run(jobs, 1, 1, ["frail:cpu", "frail:npu"], 1.0)
    assert sorted((number, what, said) for (_, number), what, said in found) == [
        (0, "hang", "1 s in loading on frail:cpu"),
        (1, "crash", "exit -6 in loading on frail:npu"),
    ]
    assert fuzz_loader.report(iter([(("none", 1), "crash", "")])) == 1
    assert fuzz_loader.report(iter([(("none", 1), "ran", "")])) == 0
