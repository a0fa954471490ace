"""`hal-conformance export`: ONNX's layout as ONNX reads it, and a manifest that fits its schema."""

from __future__ import annotations

import importlib.resources
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from hal_conformance.app import main
from hal_conformance.case import Case, load_suite
from hal_conformance.testdata import proto_of, read_values, value_from, write_case
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from hal import MapValue, OptionalValue, SequenceValue, Tensor
from hal.compare import compare

SOFTMAX = ["-k", "contract/Softmax-13/float-*"]


def validator(name: str) -> jsonschema.Draft202012Validator:
    text = importlib.resources.files("hal_conformance").joinpath(name).read_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "cases"
    assert main(["export", str(folder), *SOFTMAX]) == 0
    return folder


def test_the_manifest_fits_its_schema_and_names_every_folder(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text(encoding="utf-8"))
    validator("cases.schema.json").validate(manifest)
    assert manifest["version"] == load_suite("contract").version
    assert len(manifest["cases"]) > 5
    for row in manifest["cases"]:
        case = load_suite("contract").load(row["id"])
        assert isinstance(case, Case)
        assert (row["rtol"], row["cells"]) == (case.rtol, list(case.cells))
        assert len(row["seed"]) == 32 and row["tolerance_source"]
        folder = exported / row["path"]
        assert (folder / "model.onnx").read_bytes() == case.model.data
        assert len(list(folder.glob("test_data_set_*"))) == row["data_sets"]


def test_a_runner_that_knows_only_onnx_reads_and_runs_it(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text(encoding="utf-8"))
    for row in manifest["cases"]:
        folder = exported / row["path"]
        evaluator = ReferenceEvaluator(onnx.load(folder / "model.onnx"))
        data = folder / "test_data_set_0"
        read = {
            stem: [
                numpy_helper.to_array(onnx.load_tensor(data / f"{stem}_{v['position']}.pb"))
                for v in row[f"{stem}s"]
            ]
            for stem in ("input", "output")
        }
        names = [v["name"] for v in row["inputs"]]
        with np.errstate(invalid="ignore"):  # an infinity less an infinity
            got = evaluator.run(None, dict(zip(names, read["input"], strict=True)))
        np.testing.assert_allclose(got[0], read["output"][0], row["rtol"], row["atol"])


def test_the_same_cases_give_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    assert main(["export", str(tmp_path / "again"), *SOFTMAX]) == 0
    files = [p.relative_to(exported) for p in exported.rglob("*") if p.is_file()]
    assert len(files) > 20
    for file in files:
        assert (exported / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_a_cases_folder_reads_back_whole() -> None:
    """Every kind of value, by the cases that hold it."""
    suite = load_suite("contract")
    words = ("seq", "optional", "map(", "string", "int4", "bfloat16", "complex64", "float8e5m2")
    for word in words:
        facts = next(f for f in suite if any(word in cell for cell in f.cells))
        case = suite.load(facts.id)
        assert isinstance(case, Case)
        model = onnx.ModelProto.FromString(case.model.data)
        for data_set in case.data_sets:
            for infos, values in (
                (model.graph.input, data_set.inputs),
                (model.graph.output, data_set.outputs),
            ):
                for info in infos:
                    if info.name in values:
                        data = proto_of(values[info.name]).SerializeToString()
                        again = value_from(data, info.type)
                        assert not compare(values[info.name], again, rtol=0, atol=0), (
                            case.id,
                            info.name,
                        )


def test_maps_sequences_and_empty_optionals() -> None:
    tensor = Tensor.from_numpy(np.arange(3, dtype=np.float32))
    keys = Tensor.from_numpy(np.array(["a", "b", "ö"], object))
    values = [
        MapValue("map(string, tensor(float))", keys, tensor),
        SequenceValue("seq(tensor(float))", ()),
        SequenceValue("seq(tensor(float))", (tensor, tensor)),
        OptionalValue("optional(tensor(float))", None),
        OptionalValue(
            "optional(seq(tensor(float)))", SequenceValue("seq(tensor(float))", (tensor,))
        ),
        Tensor.from_numpy(np.array(["", "naïve", "日本"], object)),
    ]
    from hal_conformance.contract.protos import type_proto

    for value in values:
        again = value_from(proto_of(value).SerializeToString(), type_proto(value.type))
        assert again.type == value.type
        assert not compare(value, again, rtol=0, atol=0)


@pytest.mark.parametrize(
    "proto",
    [
        onnx.TensorProto(data_type=1, dims=[1 << 40], raw_data=b"1234"),
        onnx.TensorProto(data_type=1, dims=[1 << 40]),
        onnx.TensorProto(data_type=1, dims=[-1]),
        onnx.TensorProto(data_type=99, dims=[1], raw_data=b"1234"),
        onnx.TensorProto(data_type=8, dims=[1 << 40], string_data=[b"a"]),
        onnx.TensorProto(data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL),
    ],
)
def test_a_file_that_lies_about_its_size_is_refused(proto: onnx.TensorProto) -> None:
    type_ = onnx.helper.make_tensor_type_proto(1, None)
    with pytest.raises(ValueError):
        value_from(proto.SerializeToString(), type_)
    with pytest.raises(ValueError):
        value_from(b"\xff" * 40, type_)


def test_outputs_that_are_missing_are_left_out(tmp_path: Path) -> None:
    case = load_suite("contract").load("contract/TopK-24/float-one")
    assert isinstance(case, Case)
    write_case(case, tmp_path)
    outputs = onnx.ModelProto.FromString(case.model.data).graph.output
    (tmp_path / "test_data_set_0" / "output_1.pb").unlink()
    assert list(read_values(tmp_path / "test_data_set_0", outputs)) == [outputs[0].name]


def test_bad_arguments(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(exported)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "a"), "-k", "nothing-like-it"]) == 2
    assert not (tmp_path / "a").exists()
    assert main(["export", str(tmp_path / "a"), "--suite", "torch", "-k", "exp"]) == 2
    assert "no model to export" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    assert main(["export", str(tmp_path / "file"), *SOFTMAX]) == 4
    assert main(["export", str(tmp_path / "file" / "sub"), *SOFTMAX]) == 4


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert main(["export", str(tmp_path / "a"), *SOFTMAX]) == 4


def test_the_console_script_is_installed_and_imports_what_it_runs() -> None:
    script = Path(sys.executable).with_name("hal-conformance")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("hal-conformance ")
    code = "import sys\nfrom hal_conformance.app import main\nmain(['--help'])\n"
    code += "assert not {'onnx', 'pluggy'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "export" in done.stdout


def test_an_unknown_command_says_whose_help_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exprot"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no command 'exprot'. Did you mean 'export'?\n"
        "next: hal-conformance --help\n"
    )
