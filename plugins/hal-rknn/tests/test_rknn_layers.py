"""The compiler's table of layers: read as it is printed, and understood as nodes."""

from __future__ import annotations

import hal_rknn
import pytest
from hal_rknn._boards import find_boards
from hal_rknn._layers import Layer, placed, read_layers

from hal import Evidence
from hal.graph import Graph, ModelGraph, Node

# As rknn-toolkit2 2.5.0 prints it, but for the width of its columns.
LOG = """\
D RKNN: [23:40:31.018] <<<<<<<< end: rknn::RKNNModelBuildPass
D RKNN: [23:40:31.019] ---------------------------------------------------------
D RKNN: [23:40:31.019]             Network Layer Information Table
D RKNN: [23:40:31.019] ID   OpType    DataType Target InputShape OutputShape \
   Cycles(DDR/NPU/Total)    RW(KB)       FullName
D RKNN: [23:40:31.019] 0    InputOperator      FLOAT16  CPU    \\          (1,3,8,8) \
     0/0/0                    0            InputOperator:x
D RKNN: [23:40:31.019] 1    ConvRelu           FLOAT16  NPU    (1,3,8,8),(4,3,3,3) \
 (1,4,8,8)    84/576/576               0            Conv:my conv
D RKNN: [23:40:31.019] 2    SoftmaxCrossEntropyLoss FLOAT16  CPU    (1,4,8,8)  (1,4,8,8) \
     0/0/0                    1            SoftmaxCrossEntropyLoss:/loss/n2
D RKNN: [23:40:31.019] 3    OutputOperator     INT64    CPU    (1,4,8,2)   \\    \
     0/0/0                    0            OutputOperator:i
D RKNN: [23:40:31.019] Export RKNN model to /tmp/x/check.rknn
D RKNN: [23:40:31.019] ID  User           Tensor        DataType  DataFormat   OrigShape
D RKNN: [23:40:31.019] 1   ConvRelu       x    FLOAT16   NC1HWC2      (1,3,8,8)   \
 (1,4,8,8,3) | 0x00000000 0x00000180 0x00000180
""".splitlines()


def node(name: str, op: str, inputs: str, outputs: str) -> Node:
    return Node(name, op, "", tuple(inputs.split()), tuple(outputs.split()), {})


def graph(*nodes: Node) -> ModelGraph:
    return ModelGraph(
        ir_version=9,
        opset_import={"": 19},
        graph=Graph("g", nodes, (), (), {}, {}, {}),
        functions={},
    )


def places(model: ModelGraph, *layers: Layer) -> dict[str, str]:
    found = placed(model, layers, "rknn:x")
    assert {n.evidence for n in found.nodes} == {Evidence.ASSIGNED}
    return {n.node: n.device for n in found.nodes}


def test_rknn_layers_as_printed() -> None:
    assert read_layers(LOG) == [
        Layer("ConvRelu", "NPU", "my conv"),
        Layer("SoftmaxCrossEntropyLoss", "CPU", "/loss/n2"),
    ]
    assert read_layers([*LOG, *LOG]) == read_layers(LOG)  # the last table counts
    assert read_layers(["E RKNN: [23:40:31.019] no table here"]) is None


def test_rknn_layers_fused_nodes_are_folded() -> None:
    model = graph(node("n0", "Conv", "x w", "y"), node("n1", "Relu", "y", "z"))
    assert places(model, Layer("ConvRelu", "NPU", "n0")) == {"n0": "rknn:x", "n1": ""}


def test_rknn_layers_one_on_the_chips_cpu_counts() -> None:
    model = graph(node("n0", "Conv", "x w", "y"), node("n1", "Sin", "y", "z"))
    layers = Layer("Conv", "NPU", "n0"), Layer("Sin", "CPU", "n1")
    assert places(model, *layers) == {"n0": "rknn:x", "n1": "CPU"}
    assert placed(model, layers, "rknn:x").fell_back("rknn:x", accelerator=True)


def test_rknn_layers_adapters_stand_for_no_node() -> None:
    """And(x, y) becomes a product in half precision between casts, some of them on the CPU."""
    model = graph(node("n0", "And", "x y", "w"))
    layers = [
        Layer("Reshape", "CPU", "x_rs"),
        Layer("Cast", "NPU", "x_rs_cast"),
        Layer("Mul", "NPU", "n0_2fp_mul"),
        Layer("Cast", "CPU", "n0_2fp_mul_cast"),
        Layer("Reshape", "CPU", "w-rs"),
    ]
    assert places(model, *layers) == {"n0": "rknn:x"}
    reshape = graph(node("n0", "Reshape", "x s", "w"))
    assert places(reshape, Layer("Reshape", "CPU", "w-rs")) == {"n0": "CPU"}  # this one is the node


def test_rknn_layers_named_after_a_tensor() -> None:
    """CumSum becomes a Conv that is named after its input; a layer of no name known stands for
    none."""
    model = graph(node("n0", "CumSum", "x a", "w"))
    assert places(model, Layer("Conv", "NPU", "x_rs_mm#1")) == {"n0": "rknn:x"}
    assert places(model, Layer("Conv", "NPU", "elsewhere")) == {"n0": ""}
    names = graph(node("n1", "Add", "x y", "a"), node("n1_2", "Mul", "a y", "b"))
    assert places(names, Layer("Mul", "CPU", "n1_2_mul")) == {"n1": "", "n1_2": "CPU"}


def test_rknn_boards_as_adb_lists_them(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    adb = tmp_path / "adb"
    adb.write_text(
        """#!/bin/sh
case "$*" in
devices) printf 'List of devices attached\\nA1\\tdevice\\nB2\\toffline\\nC3\\tdevice\\n';;
'-s A1 shell '*) printf 'rockchip,rk3588-evb\\0rockchip,rk3588\\0';;
'-s C3 shell '*) printf 'qcom,sm8550\\0';;
*) exit 1;;
esac
"""
    )
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert [(b.serial, b.chip) for b in find_boards(["rk3588"])] == [("A1", "rk3588")]
    assert find_boards(["rk3576"]) == []
    adb.write_text("#!/bin/sh\nexit 1\n")
    assert find_boards(["rk3588"]) == []
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert find_boards(["rk3588"]) == []


def test_rknn_here_it_is_absent_and_says_how_to_get_it() -> None:
    (spec,) = hal_rknn.hal_backends()
    assert spec.environment is not None and spec.environment.name == "rknn"
    assert spec.install == "hal env create rknn"
