"""Profiles: every name exists, every source is stated, what was measured is measured again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from hal.contract import contract, profile_for_kind, profile_names
from hal.contract.profiles import parse_profile
from hal.device import DeviceKind
from hal.errors import DataError, UsageError

C = contract()
KEYS = {op.key for op in C.operators}
NAMES = ("core", "full", "microsoft", "ml", "quantized", "training", "transformer", "vision")


def test_names() -> None:
    assert profile_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_profile_is_sound(name: str) -> None:
    profile = C.profile(name)
    assert profile.title
    for group in profile.groups:
        assert re.match(r"Measured|Editorial|The standard's own|The operators of the", group.source)
        assert group.operators or group.domains
        assert set(group.domains) <= set(C.domains)
    named = [key for group in profile.groups for key in group.operators]
    assert len(named) == len(set(named)), "an operator is in two groups"
    if name == "microsoft":
        assert all(key.startswith("com.microsoft::") for key in named)
        assert set(named) == {op.key for op in C.contributed.operators}
        assert set(C.cells(profile)) == set(C.contributed.cells(domains=["com.microsoft"]))
        return
    assert set(named) <= KEYS
    assert set(C.cells(profile)) <= set(C.cells(domains=C.domains))
    for operator in C.operators_of(profile):
        admitted = [cell for cell in operator.cells if profile.admits(cell)]
        assert admitted or not operator.cells, f"{operator.key} has no cell in {name}"


def test_full_is_the_whole_contract() -> None:
    assert C.cells("full") == C.cells()


def test_types_restrict_cells_and_look_into_containers() -> None:
    ids = {cell.id for cell in C.cells("core")}
    assert "SequenceInsert-11/S/seq(tensor(float))" in ids
    assert "SequenceInsert-11/S/seq(tensor(complex64))" not in ids
    assert "Add-14/T/tensor(uint32)" not in ids


def test_domains_filter() -> None:
    assert {c.domain for c in C.cells("training", domains=["ai.onnx"])} == {"ai.onnx"}


def test_every_kind_has_one_headline() -> None:
    for kind in get_args(DeviceKind):
        claimants = [n for n in NAMES if kind in C.profile(n).kinds]
        assert claimants == [profile_for_kind(kind).name]


def test_unknown_profile() -> None:
    with pytest.raises(UsageError, match="Did you mean 'vision'") as caught:
        C.cells("visoin")
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title = ", "profile p"),
        ('title = "t"\n[[group]]\noperators = ["Add"]', "no source"),
        ('title = "t"\nsource = "s"', "no \\[\\[group\\]\\]"),
        ('title = "t"\nsource = "s"\nkinds = ["gpus"]', "kind 'gpus'"),
        ('title = "t"\nsource = "s"\n[[group]]\nops = ["Add"]', "does not have ops"),
        ('title = "t"\nsource = "s"\ntypes = ["floot"]\n[[group]]\noperators = ["Add"]', "floot"),
    ],
)
def test_bad_profile(text: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        parse_profile("p", text)


def test_vision_holds_the_light_models() -> None:
    onnx = pytest.importorskip("onnx")
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    models = sorted(folder.glob("*.onnx"))
    if len(models) != 9:
        pytest.skip("this onnx package comes without the nine light models")
    found = {n.op_type for path in models for n in onnx.load(path).graph.node}
    assert found <= set(C.profile("vision").operators)


def test_quantized_holds_the_quantizer_registry() -> None:
    ort = pytest.importorskip("onnxruntime")
    if ort.__version__ != "1.31.1":
        pytest.skip("the profile was measured on onnxruntime 1.31.1")
    from onnxruntime.quantization import registry

    handled = set(registry.QDQRegistry) | set(registry.QLinearOpsRegistry)
    assert handled & KEYS == set(C.profile("quantized").groups[1].operators)


def test_microsoft_is_what_onnxruntime_registers() -> None:
    ort = pytest.importorskip("onnxruntime")
    if ort.__version__ != "1.31.1":
        pytest.skip("the profile was measured on onnxruntime 1.31.1")
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    names = {s.name for s in get_all_operator_schema() if s.domain == "com.microsoft"}
    assert {f"com.microsoft::{n}" for n in names} == set(C.profile("microsoft").operators)


def test_docs_table_equals_the_data() -> None:
    page = (Path(__file__).parents[1] / "docs" / "contract.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = {cells[0].strip("`"): cells[1:] for cells in split}
    expected = {}
    for name in NAMES:
        profile = C.profile(name)
        operators = {op.key for op in C.operators_of(profile)} | set(profile.operators)
        cells = len(C.cells(profile))
        kinds = ", ".join(profile.kinds) or "–"
        expected[name] = [profile.title, str(len(operators)), str(cells), kinds, profile.source]
    assert rows == expected
