"""Compiled contexts on disk."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from hal import Evidence, Model, Tensor
from hal.errors import FallbackError, OutputError


def node(operator, inputs, output, name):
    return onnx.helper.make_node(operator, inputs, [output], name=name)


def random(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


@pytest.fixture
def opened(monkeypatch):
    """The models that onnxruntime was given, by their first operator."""
    from hal_qnn import _backend

    given = []
    real = _backend.open_session

    def watch(data, *rest):
        given.append(onnx.load_from_string(data).graph.node[0].op_type)
        return real(data, *rest)

    monkeypatch.setattr(_backend, "open_session", watch)
    return given


def execute(qnn, emulator, model, folder, **options):
    executable = qnn.compile(emulator, model, {"context_cache": str(folder), **options})
    x = random(1, 3, 8, 8)
    result = executable.run({"x": Tensor.from_numpy(x)})["y"].numpy()
    return result, executable.placement()


def files(folder):
    return sorted(path.suffix for path in folder.iterdir())


def test_a_context_is_used_again(qnn, emulator, network, tmp_path, opened):
    first, placed = execute(qnn, emulator, network, tmp_path)
    assert files(tmp_path) == [".json", ".onnx"]
    again, placed_again = execute(qnn, emulator, network, tmp_path)
    assert opened == ["Conv", "EPContext"]
    np.testing.assert_array_equal(first, again)
    assert placed == placed_again
    assert placed.evidence is Evidence.ASSIGNED
    assert not placed.elsewhere(emulator.id)


def test_another_chip_or_model_has_its_own(qnn, emulator, network, quantized, tmp_path, opened):
    execute(qnn, emulator, network, tmp_path)
    execute(qnn, emulator, network, tmp_path, soc_model=57, htp_arch=75)
    execute(qnn, emulator, quantized, tmp_path)
    assert "EPContext" not in opened
    assert len(files(tmp_path)) == 6


@pytest.mark.parametrize("damage", ["cut", "empty-note", "no-note", "not-a-context"])
def test_a_damaged_entry_is_made_again(qnn, emulator, network, tmp_path, opened, damage):
    import hashlib
    import json

    first, _ = execute(qnn, emulator, network, tmp_path)
    (context,) = tmp_path.glob("*.onnx")
    (note,) = tmp_path.glob("*.json")
    if damage == "cut":
        context.write_bytes(context.read_bytes()[:1000])
    elif damage == "empty-note":
        note.write_text("{}")
    elif damage == "no-note":
        note.unlink()
    else:  # whole by its checksum, and refused by the driver, as another driver's would be
        model = onnx.load(context)
        for attribute in model.graph.node[0].attribute:
            if attribute.name == "ep_cache_context":
                attribute.s = b"\0" * len(attribute.s)
        context.write_bytes(model.SerializeToString())
        entry = json.loads(note.read_text())
        entry["sha256"] = hashlib.sha256(context.read_bytes()).hexdigest()
        note.write_text(json.dumps(entry))
    again, _ = execute(qnn, emulator, network, tmp_path)
    np.testing.assert_array_equal(first, again)
    assert opened[-1] == "Conv"
    execute(qnn, emulator, network, tmp_path)
    assert opened[-1] == "EPContext"


def test_external_weights_are_part_of_the_key(qnn, emulator, tmp_path, opened):
    folder = tmp_path / "model"
    folder.mkdir()
    weight = onnx.TensorProto(
        name="k", data_type=onnx.TensorProto.FLOAT, dims=[1, 3, 1, 1], data_location=1
    )
    weight.external_data.add(key="location", value="k.bin")
    graph = onnx.helper.make_graph(
        [node("Mul", ["x", "k"], "y", "n")],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 3, 8, 8])],
        [weight],
    )
    imports = [onnx.helper.make_opsetid("", 17)]
    proto = onnx.helper.make_model(graph, opset_imports=imports, ir_version=9)
    model = Model(proto.SerializeToString(), folder)
    x = random(1, 3, 8, 8)
    for factor in (1.0, 2.0):
        (folder / "k.bin").write_bytes(np.full(3, factor, np.float32).tobytes())
        result, _ = execute(qnn, emulator, model, tmp_path / "cache")
        np.testing.assert_allclose(result, factor * x, rtol=2.0**-9, atol=0)
    assert opened == ["Mul", "Mul"]


def test_nothing_is_kept_of_a_refusal(qnn, emulator, erf, tmp_path):
    with pytest.raises(FallbackError):
        qnn.compile(emulator, erf, {"context_cache": str(tmp_path)})
    assert files(tmp_path) == []


def test_true_means_hals_own_folder(qnn, emulator, relu, tmp_path, monkeypatch):
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    qnn.compile(emulator, relu, {"context_cache": True})
    assert files(tmp_path / "cache" / "qnn") == [".json", ".onnx"]


def test_a_folder_that_cannot_be_written_says_so(qnn, emulator, relu, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file") as caught:
        qnn.compile(emulator, relu, {"context_cache": str(tmp_path / "file")})
    assert "context_cache" in caught.value.next_step
