"""The contract's data, look-up and counts, against the installed onnx."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from hal.contract import UNBOUNDED, Cell, contract, count, operator_key
from hal.contract._codec import FILE_NAME, ONNX_VERSION, dump, encode, load
from hal.errors import UsageError

onnx = pytest.importorskip("onnx")
pinned = pytest.mark.skipif(onnx.__version__ != ONNX_VERSION, reason=f"needs onnx {ONNX_VERSION}")
C = contract()


@pinned
def test_file_equals_installed_onnx() -> None:
    from hal.contract.generate import build

    packed = resources.files("hal.contract").joinpath(FILE_NAME).read_bytes()
    assert gzip.decompress(packed) == build(), "run python -m hal.contract.generate"


def test_file_bytes_are_deterministic() -> None:
    table = load()
    document = encode(C.all_versions, table.irs, table.onnx_version)
    assert dump(document) == dump(document)
    assert dump(document)[4:8] == b"\0\0\0\0"  # gzip's time stamp
    assert encode(reversed(C.all_versions), table.irs, table.onnx_version) == document


def test_counts() -> None:
    cells = C.cells()
    assert len({c.id for c in cells}) == len(cells) == 2949
    assert count(cells) == (2327, 622)
    assert sum(op.domain in ("ai.onnx", "ai.onnx.ml") for op in C.operators) == 218
    assert len(C.operators) == 223
    assert sum(op.domain == "ai.onnx" and bool(op.function) for op in C.operators) == 48
    assert sum(c.first_opset >= 27 for c in cells) == 675
    assert sum(c.first_opset > 19 for c in cells) == 1829


def test_preview_domains_come_on_top() -> None:
    by_domain = Counter(c.domain for c in C.cells(domains=C.domains))
    assert by_domain.keys() - {"ai.onnx", "ai.onnx.ml"} == {
        "ai.onnx.preview",
        "ai.onnx.preview.training",
    }
    assert by_domain["ai.onnx"] + by_domain["ai.onnx.ml"] == 2949
    assert {c.domain for c in C.cells(domains=[""])} == {"ai.onnx"}


@pinned
def test_resolve_agrees_with_onnx_at_every_opset() -> None:
    from onnx import defs

    newest = defs.onnx_opset_version()
    for name in {op.name for op in C.all_versions if op.domain == "ai.onnx"}:
        for opset in range(1, newest + 1):
            try:
                expected = defs.get_schema(name, opset, "").since_version
            except defs.SchemaError:
                expected = None
            found = C.resolve("", name, opset)
            assert (found.since_version if found else None) == expected, (name, opset)


@pytest.mark.parametrize(
    ("domain", "name", "opset", "expected"),
    [
        ("", "Softmax", 12, "Softmax-11"),
        ("ai.onnx", "Softmax", 13, "Softmax-13"),
        ("ai.onnx.ml", "Scaler", 3, "ai.onnx.ml::Scaler-1"),
        ("", "Gelu", 19, None),
        ("", "Nonsense", 28, None),
        ("com.example", "Softmax", 13, None),
    ],
)
def test_resolve(domain: str, name: str, opset: int, expected: str | None) -> None:
    found = C.resolve(domain, name, opset)
    assert (found.id if found else None) == expected


def test_deprecated_versions_are_flagged_and_have_no_cells() -> None:
    upsample = C.resolve("", "Upsample", 10)
    assert upsample is not None
    assert upsample.deprecated
    assert not upsample.latest
    assert upsample.cells == ()
    before = C.resolve("", "Upsample", 9)
    assert before is not None
    assert not before.deprecated


@pinned
def test_signatures_agree_with_onnx() -> None:
    from onnx import defs, helper

    schemas = {
        (s.domain or "ai.onnx", s.name, s.since_version): s
        for s in defs.get_all_schemas_with_history()
    }
    assert len(schemas) == len(C.all_versions)
    for op in C.all_versions:
        schema = schemas[op.domain, op.name, op.since_version]
        assert (op.min_inputs, op.max_inputs) == (schema.min_input, schema.max_input)
        formals = (*schema.inputs, *schema.outputs)
        assert len(formals) == len(op.inputs) + len(op.outputs)
        for mine, theirs in zip((*op.inputs, *op.outputs), formals):  # noqa: B905 (checked above)
            maps = re.compile(r"map\((\w+),tensor\((\w+)\)\)")  # as a parameter spells a map
            expected = {maps.sub(r"map(\1, \2)", t) for t in theirs.types}
            assert set(mine.types) == expected, (op.id, mine.name)
            assert mine.option == theirs.option.name.lower()
        for a in op.attributes:
            theirs = schema.attributes[a.name]
            assert a.required == theirs.required
            if a.default is None:
                assert theirs.default_value.type == 0
            else:
                made = helper.make_attribute(a.name, a.default)
                assert helper.get_attribute_value(made) == helper.get_attribute_value(
                    theirs.default_value
                ), (op.id, a.name)


def test_operator_details() -> None:
    concat = C.latest("Concat")
    assert (concat.inputs[0].option, concat.max_inputs) == ("variadic", UNBOUNDED)
    axis = concat.attribute("axis")
    assert axis is not None
    assert axis.required
    assert concat.input(7) is concat.inputs[0]
    assert concat.output(1) is None
    assert C.latest("Loop").inputs[2].homogeneous is False
    assert {op.name for op in C.operators if op.random} == {
        "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike",
        "RandomUniform", "RandomUniformLike",
    }  # fmt: skip
    assert C.latest("QuantizeLinear").family == "quantization"
    assert operator_key("", "Add") == "Add"


def test_cell_id() -> None:
    assert Cell("Add", "ai.onnx", 14, "T", "tensor(float)").id == "Add-14/T/tensor(float)"
    assert Cell("ai.onnx.ml::Scaler", "ai.onnx.ml", 1, "T", "tensor(float)").id == (
        "ai.onnx.ml::Scaler-1/T/tensor(float)"
    )


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (("", "Add", 28, ["tensor(float)"] * 2, ["tensor(float)"]), ["Add-14/T/tensor(float)"]),
        (("", "Add", 13, ["tensor(float)"] * 2, ["tensor(float)"]), []),
        (("", "Add", 14, ["tensor(string)"] * 2, []), []),
        (
            ("", "Cast", 28, ["tensor(float)"], ["tensor(int2)"]),
            ["Cast-28/T1/tensor(float)", "Cast-28/T2/tensor(int2)"],
        ),
        (
            ("", "Loop", 28, ["", None, "seq(tensor(float))", "tensor(bool)"], ["tensor(bool)"]),
            ["Loop-25/V/seq(tensor(float))", "Loop-25/V/tensor(bool)"],
        ),
        (
            ("ai.onnx.ml", "DictVectorizer", 5, ["map(int64,float)"], ["tensor(float)"]),
            [
                "ai.onnx.ml::DictVectorizer-1/T1/map(int64, float)",
                "ai.onnx.ml::DictVectorizer-1/T2/tensor(float)",
            ],
        ),
        (("", "Relu", 28, ["tensor(float)"] * 3, []), ["Relu-14/T/tensor(float)"]),
        (("", "Nonsense", 28, ["tensor(float)"], []), []),
    ],
)
def test_cells_of(
    node: tuple[str, str, int, list[str | None], list[str | None]], expected: list[str]
) -> None:
    assert sorted(C.cells_of(*node)) == sorted(expected)


@pinned
def test_ir_version_agrees_with_onnx() -> None:
    from onnx import helper

    for opset in range(1, C.newest_opset() + 1):
        table = [row for row in helper.VERSION_TABLE if row[2] >= opset]
        assert C.ir_version({"": opset}) == min(row[1] for row in table)
    assert C.ir_version({"": 7, "ai.onnx.ml": 3}) == 8
    with pytest.raises(UsageError, match="newer than onnx"):
        C.ir_version({"": 99})


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean 'Softmax'"):
        C.latest("Sofmax")
    with pytest.raises(UsageError, match=r"Did you mean 'ai\.onnx\.ml::Scaler'"):
        C.latest("ai.onnx.ml::Scalr")
    with pytest.raises(UsageError, match="no domain"):
        C.newest_opset("ai.onx")


def test_import_needs_no_onnx() -> None:
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from hal.contract import contract\n"
        "assert contract().resolve('', 'Add', 28).since_version == 14\n"
        "assert 'tomllib' not in sys.modules and 'tomli' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_generate_writes_the_committed_file(tmp_path: Path) -> None:
    from hal.contract import generate

    if onnx.__version__ != ONNX_VERSION:
        assert generate.main(str(tmp_path / "x")) == 3
        return
    assert generate.main(str(tmp_path / "x.json.gz")) == 0
    packed = resources.files("hal.contract").joinpath(FILE_NAME).read_bytes()
    assert gzip.decompress((tmp_path / "x.json.gz").read_bytes()) == gzip.decompress(packed)
    assert generate.main(str(tmp_path / "no" / "x.json.gz")) == 4


def test_float_defaults_are_the_float32_of_the_schema():
    schemas = {"Selu": "alpha", "Elu": "alpha", "HardSigmoid": "alpha", "LRN": "beta"}
    for name, attribute in schemas.items():
        expected = onnx.defs.get_schema(name).attributes[attribute].default_value.f
        assert contract().latest(name).attribute(attribute).default == expected
