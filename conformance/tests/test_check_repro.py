"""A reproduction that `hal check` saves shows a real engine's fault with that engine alone.

OpenVINO 2026.4.1 pads with zero when the value to pad with is computed and the pads are constant
(docs/findings.md). Here that is one node of forty.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hal.cli._main import run

pytest.importorskip("openvino")


def padded_model(path):
    """Twenty layers of Mul and Tanh, with a Pad by the largest value between the tenth and the
    eleventh."""
    constants = [
        numpy_helper.from_array(np.float32(1.25), "scale"),
        numpy_helper.from_array(np.array([0, 1, 0, 2]), "pads"),
    ]
    nodes, value = [], "x"
    for layer in range(20):
        if layer == 10:
            nodes.append(helper.make_node("ReduceMax", [value], ["top"], name="top", keepdims=0))
            nodes.append(helper.make_node("Pad", [value, "pads", "top"], ["padded"], name="pad"))
            value = "padded"
        nodes.append(helper.make_node("Mul", [value, "scale"], [f"m{layer}"], name=f"mul{layer}"))
        nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"t{layer}"], name=f"tanh{layer}"))
        value = f"t{layer}"
    graph = helper.make_graph(
        nodes,
        "padded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [3, 7])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_reproduction_of_a_real_finding_shows_it_without_hal(tmp_path, capsys):
    model = padded_model(tmp_path / "padded.onnx")
    folder = tmp_path / "finding"
    code = run(["check", str(model), "-d", "openvino:cpu", "--repro", str(folder), "--json"])
    (result,) = json.loads(capsys.readouterr().out)["checks"]
    assert (code, result["outcome"]) == (1, "wrong")
    culprit = result["culprit"]
    assert (culprit["nodes"], culprit["operators"]) == (["pad"], ["Pad"])
    assert culprit["reproduced"] == "wrong"
    (record,) = culprit["records"]
    assert sum(record["outcomes"].values()) > 1
    (script,) = folder.rglob("repro_openvino_cpu.py")
    assert "hal" not in script.read_text().partition('"""')[2].partition('"""')[2].split()
    shown = subprocess.run(
        [sys.executable, "-I", str(script)], capture_output=True, text=True, timeout=120
    )
    assert shown.returncode == 1
    assert "AssertionError" in shown.stderr
    # By onnxruntime the same folder is right: the fault is the engine's, not the case's.
    text = script.read_text()
    source = text[text.index("import openvino") : text.index("here = ")]
    other = (
        "import onnxruntime\n\n\ndef run(model, inputs):\n"
        "    return onnxruntime.InferenceSession(model).run(None, inputs)\n\n\n"
    )
    again = script.with_name("repro_ort_cpu.py")
    again.write_text(text.replace(source, other))
    right = subprocess.run(
        [sys.executable, "-I", str(again)], capture_output=True, text=True, timeout=120
    )
    assert (right.returncode, right.stderr) == (0, "")
    assert right.stdout.endswith("as expected\n")
