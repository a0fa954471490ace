"""A plugin that `hal plugin new` writes installs, passes its own tests and has a first score; one
more kernel is one more operator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = '\n\ntable.kernel("Sub", 7, 13, 14)(np.subtract)\n'


@pytest.mark.slow
@pytest.mark.parametrize("style", ["kernels", "compiler"])
def test_new_plugin_stands_at_once(style: str, tmp_path: Path, environment: dict[str, str]) -> None:
    site = tmp_path / "plugin-site"
    env = {**environment, "PYTHONPATH": os.pathsep.join([str(site), environment["PYTHONPATH"]])}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def passing() -> set[str]:
        run("hal", "conformance", "-d", "my-npu:npu", "-k", "test_sub", "-k", "test_mul", "--json",
            "report.json")  # fmt: skip
        (report,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["reports"]
        return {c["id"] for c in report["cases"] if c["outcome"] == "pass"}

    run("hal", "plugin", "new", "my-npu", "--style", style)
    folder = tmp_path / "hal-my-npu"
    install = ("pip", "install", "-q", "--no-deps", "--no-build-isolation", "--upgrade")
    run(*install, "--target", str(site), str(folder))
    assert "passed" in run("pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests"))
    assert "my-npu:npu" in run("hal", "devices", "--backend", "my-npu")
    before = passing()
    assert "onnx/node/test_mul" in before
    if style == "compiler":
        assert "onnx/node/test_sub" in before
        return
    assert "onnx/node/test_sub" not in before
    module = folder / "hal_my_npu" / "__init__.py"
    module.write_text(module.read_text(encoding="utf-8") + KERNEL, encoding="utf-8")
    run(*install, "--target", str(site), str(folder))
    after = passing()
    assert {i for i in after - before if not i.endswith("_expanded")} >= {"onnx/node/test_sub"}
    assert before < after
