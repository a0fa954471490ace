"""`hal check` as a command: what it prints, and what it says to bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hal.cli._main import run


def small(path: Path, *, external: str = "") -> Path:
    """A model of three nodes: relu(x @ w) + 1."""
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32) * 2, "w")
    if external:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=external)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
            helper.make_node("Relu", ["a"], ["b"], name="positive"),
            helper.make_node("Add", ["b", "one"], ["y"], name="sum"),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [weight, numpy_helper.from_array(np.float32(1), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def check(capsys, *arguments):
    code = run(["check", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def test_a_right_model_takes_one_line_and_one_for_where_it_ran(tmp_path, capsys):
    arguments = ["-d", "reference:cpu", "--repro", tmp_path / "finding"]
    code, out, _ = check(capsys, small(tmp_path / "m.onnx"), *arguments)
    assert not (tmp_path / "finding").exists(), "there was nothing to save"
    first, second = out.splitlines()
    assert code == 0
    assert first.startswith("right: m.onnx on reference:cpu: 1 output within ")
    assert second.strip() == "3 nodes: 3 on reference:cpu (sole)"


def test_json_has_every_node_and_the_inputs(tmp_path, capsys):
    arguments = ["-d", "ort:cpu", "--size", "batch=3", "--json"]
    code, out, _ = check(capsys, small(tmp_path / "m.onnx"), *arguments)
    document = json.loads(out)
    (result,) = document["checks"]
    assert (code, document["schema"], result["outcome"]) == (0, "hal.check/1", "pass")
    assert document["inputs"] == {"x": ["tensor(float)", [3, 4]]}
    assert [n["name"] for n in result["nodes"]] == ["product", "positive", "sum"]
    assert result["reference"]["independent"]
    assert [o["right"] for o in result["outputs"]] == [True]


def test_inputs_of_a_file_are_taken(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", x=np.ones((5, 4), np.float32))
    arguments = ["-d", "ort:cpu", "--inputs", tmp_path / "x.npz", "--json"]
    code, out, _ = check(capsys, small(tmp_path / "m.onnx"), *arguments)
    assert (code, json.loads(out)["inputs"]) == (0, {"x": ["tensor(float)", [5, 4]]})


def test_unsupported_nodes_are_named_all_at_once(tmp_path, capsys):
    nodes = [
        helper.make_node("Nothing", ["x"], ["a"], name="first", domain="of.nobody"),
        helper.make_node("Abs", ["a"], ["b"], name="between"),
        helper.make_node("Nil", ["b"], ["y"], name="second", domain="of.nobody"),
    ]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", infos[:1], infos[1:]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("of.nobody", 1)],
        ir_version=8,
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    code, out, _ = check(capsys, tmp_path / "m.onnx", "-d", "reference:cpu")
    assert code == 6
    assert out.startswith("unsupported: m.onnx on reference:cpu: ")
    assert "first (of.nobody::Nothing" in out
    assert "second (of.nobody::Nil" in out
    assert "between" not in out


def test_an_engine_that_stops_at_the_first_is_asked_again(tmp_path, capsys):
    """onnxruntime names one node a time: a custom operator by its type alone, Mish (which it
    expands) not at all. A node like a refused one is not asked."""
    nodes = [
        helper.make_node("Erf", ["x"], ["a"], name="one"),
        helper.make_node("Abs", ["a"], ["b"], name="between"),
        helper.make_node("Erf", ["b"], ["c"], name="two"),
        helper.make_node("Mish", ["c"], ["d"], name="expanded"),
        helper.make_node("Foreign", ["d"], ["y"], name="custom", domain="of.nobody"),
    ]
    infos = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, ["n", 2]) for n in "xdy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", infos[:1], infos[1:]),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("of.nobody", 1)],
        ir_version=9,
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    code, out, _ = check(capsys, tmp_path / "m.onnx", "-d", "ort:cpu")
    first, *rest = out.splitlines()
    assert (code, first) == (
        6,
        "unsupported: m.onnx on ort:cpu: ort:cpu does not take 4 of 5 nodes",
    )
    assert [line.split(": ")[0].strip() for line in rest] == [
        *("one, two (Erf-13)", "expanded (Mish)", "custom (of.nobody::Foreign)"),
    ]
    document = json.loads(check(capsys, tmp_path / "m.onnx", "-d", "ort:cpu", "--json")[1])
    refused = document["checks"][0]["unsupported"]
    assert [n["node"] for n in refused] == ["one", "two", "expanded", "custom"]
    assert refused[1]["reason"] == "as one"


def test_many_refused_nodes_are_a_line_for_each_reason(tmp_path, capsys):
    nodes = [helper.make_node("Sign", [f"v{i}"], [f"v{i + 1}"], name=f"n{i}") for i in range(9)]
    nodes.append(helper.make_node("Sign", ["v9"], ["y"], name="last"))
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("v0", "y")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", infos[:1], infos[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    code, out, _ = check(capsys, tmp_path / "m.onnx", "-d", "example:cpu")
    first, refused, last = out.splitlines()
    assert (code, first.endswith("does not take 10 of 10 nodes")) == (6, True)
    assert refused.startswith("  n0, n1, n2, n3, n4, n5 and 4 more (Sign-13): no kernel")
    assert last.strip() == "every node by name: --json"


def test_an_option_that_the_backend_does_not_have_is_no_fault_of_a_node(tmp_path, capsys):
    arguments = ["-d", "ort:cpu", "--option", "nonsense=1"]
    code, out, err = check(capsys, small(tmp_path / "m.onnx"), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ort has no option 'nonsense'.\nnext: use one of ")


def files(tmp_path: Path) -> dict[str, Path]:
    good = small(tmp_path / "good.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("this is no model\n" * 20)
    (tmp_path / "short.onnx").write_bytes(good.read_bytes()[:-30])
    (tmp_path / "outside.bin").write_bytes(bytes(64))
    (tmp_path / "inside").mkdir()
    return {
        "good": good,
        "absent": tmp_path / "absent.onnx",
        "empty": tmp_path / "empty.onnx",
        "text": tmp_path / "text.onnx",
        "short": tmp_path / "short.onnx",
        "outside": small(tmp_path / "inside" / "m.onnx", external="../outside.bin"),
        "missing": small(tmp_path / "inside" / "n.onnx", external="nothing.bin"),
    }


@pytest.mark.parametrize("what", ["absent", "empty", "text", "short", "outside", "missing"])
def test_what_is_no_model_gets_one_line(what, tmp_path, capsys):
    path = files(tmp_path)[what]
    code, out, err = check(capsys, path, "-d", "reference:cpu")
    assert (code, out) == (3, "")
    assert err.startswith(f"error: {path}: ")
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("device", "code", "says"),
    [
        ("reference:gone", 2, "no device 'reference:gone'"),
        ("referense:cpu", 2, "Did you mean 'reference'"),
        ("nonsense", 2, ""),
    ],
)
def test_a_device_that_is_not_there_is_named(device, code, says, tmp_path, capsys):
    got, out, err = check(capsys, small(tmp_path / "m.onnx"), "-d", device)
    assert (got, out) == (code, "")
    assert says in err


def arrays(tmp_path: Path, what: str) -> Path:
    path = tmp_path / "x.npz"
    if what == "unknown":
        np.savez(path, z=np.ones((1, 4), np.float32))
    elif what == "type":
        np.savez(path, x=np.ones((1, 4), np.float64))
    elif what == "shape":
        np.savez(path, x=np.ones((1, 5), np.float32))
    elif what == "none":
        np.savez(path)
    elif what == "pickle":
        np.savez(path, x=np.array([{}], object))
    elif what == "text":
        path.write_text("no arrays")
    elif what == "array":
        path = tmp_path / "x.npy"
        np.save(path, np.ones((1, 4), np.float32))
    return path


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ("unknown", 2, "no input 'z'"),
        ("type", 2, "expected"),
        ("shape", 2, "expected"),
        ("none", 2, "no value for input 'x'"),
        ("pickle", 3, "x.npz"),
        ("text", 3, "x.npz"),
        ("array", 3, "without a name"),
        ("absent", 3, "No such file"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(what, code, says, tmp_path, capsys):
    model, path = small(tmp_path / "m.onnx"), arrays(tmp_path, what)
    got, out, err = check(capsys, model, "-d", "reference:cpu", "--inputs", path)
    assert (got, out) == (code, "")
    assert says in err


@pytest.mark.parametrize("size", ["batch", "batch=many", "width=3"])
def test_sizes_that_do_not_fit_are_refused(size, tmp_path, capsys):
    arguments = ["-d", "reference:cpu", "--size", size]
    code, out, _ = check(capsys, small(tmp_path / "m.onnx"), *arguments)
    assert (code, out) == (2, "")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ["-d", "reference:cpu", "--repro", tmp_path / "file"]
    code, out, err = check(capsys, small(tmp_path / "m.onnx"), *arguments)
    assert (code, out) == (4, "")
    assert "cannot write" in err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("")
    arguments[-1] = tmp_path / "full"
    assert check(capsys, tmp_path / "m.onnx", *arguments)[0] == 2
