from __future__ import annotations

import concurrent.futures
import importlib.metadata
import logging
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
from hal_conformance import cached_suite
from hal_conformance.case import Suite
from hal_conformance.casefile import CaseFile, encode_cases, write_atomically
from hal_conformance.disputed import load_disputed, parse_disputed
from hal_conformance.official import official_cases, value_of
from hal_conformance.suite_onnx import OnnxSuite, load_onnx_suite

from hal import ElementType, OptionalValue, SequenceValue, Tensor
from hal.contract import contract
from hal.errors import AbsentError, DataError, UsageError

KINDS = {"node": 1884, "simple": 23, "pytorch-converted": 82, "pytorch-operator": 35}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of its own, filled once: making the cases takes seconds."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAL_HOME", str(folder))
        load_onnx_suite()
    return folder


@pytest.fixture
def suite(home, monkeypatch) -> Suite:
    monkeypatch.setenv("HAL_HOME", str(home))
    return load_onnx_suite()


@pytest.fixture
def few(monkeypatch, tmp_path, suite):
    """Makes the suite quick to build: two of its cases, counted each time they are made."""
    ids = ("onnx/node/test_abs", "onnx/simple/test_sign_model")
    cases = [suite.load(i) for i in ids]
    built = []

    def build(disputed):
        built.append(disputed)
        return iter(cases)

    monkeypatch.setattr("hal_conformance.official.official_cases", build)
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    return built


def cache_file(folder):
    (path,) = (folder / "cache" / "suites").iterdir()
    return path


def test_all_official_cases_are_there(suite):
    ids = [facts.id for facts in suite]
    assert len(suite) == len(set(ids)) == 2024
    for kind, count in KINDS.items():
        assert sum(i.startswith(f"onnx/{kind}/test_") for i in ids) == count
    assert sum(facts.expanded for facts in suite) == 480
    assert suite.version == f"onnx {onnx.__version__}"


def test_every_node_is_named_once(suite):
    count = 0
    for facts in suite:
        model = onnx.ModelProto.FromString(suite.load(facts.id).model.data)
        assert len(set(facts.nodes)) == len(facts.nodes) >= len(model.graph.node)
        assert all(n.name in facts.nodes for n in model.graph.node)
        count += len(model.graph.node)
    assert count == 14070


def test_cells_reach_the_known_coverage(suite):
    counted = {cell.id for cell in contract().cells()}
    single = {c for f in suite if f.single_operator and not f.expanded for c in f.cells}
    everything = {c for f in suite for c in f.cells}
    # 521 by the operators themselves; If, Loop, Scan and SequenceMap exercise five more inside.
    assert len(single & counted) == 526
    assert len(everything & counted) == 615


def test_inputs_and_outputs_are_those_of_the_graph(suite):
    for facts in suite:
        case = suite.load(facts.id)
        model = onnx.ModelProto.FromString(case.model.data)
        initialized = {t.name for t in model.graph.initializer}
        wanted = [i.name for i in model.graph.input if i.name not in initialized]
        assert case.data_sets
        for data_set in case.data_sets:
            assert list(data_set.inputs) == wanted
            assert list(data_set.outputs) == [o.name for o in model.graph.output]


def test_every_element_type_but_complex_and_float6_is_fed(suite):
    kinds = set()
    for facts in suite:
        for data_set in suite.load(facts.id).data_sets:
            values = [*data_set.inputs.values(), *data_set.outputs.values()]
            kinds |= {v.element_type for v in values if isinstance(v, Tensor)}
    absent = {"COMPLEX64", "COMPLEX128", "FLOAT6E2M3", "FLOAT6E3M2"}
    assert {e.name for e in ElementType} - {e.name for e in kinds} == absent


def test_sequences_and_optionals(suite):
    (data_set,) = suite.load("onnx/node/test_optional_has_element_empty_optional_input").data_sets
    (value,) = data_set.inputs.values()
    assert isinstance(value, OptionalValue) and value.value is None
    (data_set,) = suite.load("onnx/node/test_identity_sequence").data_sets
    (value,) = data_set.outputs.values()
    assert isinstance(value, SequenceValue) and value.type == "seq(tensor(float))" and value.items


def test_tolerances(suite):
    by_rtol = {f.id: f.rtol for f in suite if f.rtol != 1e-3}
    assert set(by_rtol.values()) == {2.0**-6}
    assert by_rtol["onnx/node/test_attention_4d_causal_bf16"] == 2.0**-6
    assert {f.atol for f in suite} == {1e-7}


def test_facts_of_one_case(suite):
    facts = suite.facts("onnx/node/test_abs")
    assert (facts.operators, facts.single_operator) == (("Abs",), "Abs")
    assert (facts.nodes, facts.cells) == (("Abs_0",), ("Abs-13/T/tensor(float)",))
    assert (facts.opset, facts.disputed, facts.judge) == (13, "", "values")


def test_unknown_case(suite):
    with pytest.raises(UsageError, match=r"no case 'onnx/node/test_ab'.* 'onnx/node/test_abs'"):
        suite.load("onnx/node/test_ab")


def test_warm_suite_imports_no_onnx(home):
    code = (
        "import sys; from hal_conformance.case import load_suite; s = load_suite('onnx'); "
        "s.load('onnx/node/test_abs'); print(len(s), 'onnx' in sys.modules, "
        "'ml_dtypes' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"HAL_HOME": str(home)}
    )
    assert (done.stdout, done.stderr) == ("2024 False False\n", "")


def test_made_twice_gives_the_same_bytes(home):
    np.random.seed(99)
    before = np.random.get_state()[1].copy()
    again = encode_cases(official_cases(load_disputed()))
    assert (np.random.get_state()[1] == before).all()
    assert again == cache_file(home).read_bytes()


# The cache -------------------------------------------------------------------------------------


def test_made_once_then_read(few, caplog):
    assert len(load_onnx_suite()) == len(load_onnx_suite()) == 2
    assert len(few) == 1
    assert not caplog.records


@pytest.mark.parametrize("length", [0, 10, -1])
def test_truncated_cache_is_made_anew(few, tmp_path, caplog, length):
    load_onnx_suite()
    path = cache_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    assert len(load_onnx_suite()) == 2
    assert len(few) == 2 and path.read_bytes() == whole
    assert "the cases are made anew" in caplog.text


def test_case_damaged_while_in_use_is_made_anew(few, tmp_path, caplog):
    load_onnx_suite()
    path = cache_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[-80] ^= 0xFF
    path.write_bytes(bytes(data))
    suite = load_onnx_suite()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        cases = list(pool.map(suite.load, ["onnx/simple/test_sign_model"] * 8))
    assert len({c.model.data for c in cases}) == 1
    assert len(few) == 2 and "damaged" in caplog.text


@pytest.mark.parametrize("problem", ["no folder", "full disk"])
def test_unwritable_cache_leaves_the_suite_in_memory(few, tmp_path, caplog, monkeypatch, problem):
    if problem == "no folder":
        (tmp_path / "cache").write_text("a file where the folder should be")
    else:

        def full(path, data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cached_suite, "write_atomically", full)
    suite = load_onnx_suite()
    assert suite.load("onnx/node/test_abs").operators == ("Abs",)
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "in memory only" in caplog.text


def test_two_at_once(few, tmp_path):
    barrier = threading.Barrier(2)

    def load(_):
        barrier.wait()
        return len(load_onnx_suite())

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load, range(2))) == [2, 2]
    assert len(CaseFile.open(cache_file(tmp_path)).facts) == 2


def test_cache_is_kept_apart_by_version(few, tmp_path):
    OnnxSuite("1.0")
    OnnxSuite("2.0")
    assert len(few) == 2
    assert len(list((tmp_path / "cache" / "suites").iterdir())) == 2


def test_without_onnx(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(AbsentError, match="needs the onnx package"):
        load_onnx_suite()


def test_cache_removed_while_it_is_opened(few, tmp_path, monkeypatch):
    def write_and_clear(path, data):
        write_atomically(path, data)
        path.unlink()

    monkeypatch.setattr(cached_suite, "write_atomically", write_and_clear)
    assert len(load_onnx_suite()) == 2


# The list of disputed cases ---------------------------------------------------------------------


def test_every_pattern_fits_a_case_and_says_why(suite):
    disputed = load_disputed()
    fitted = {f.id: disputed.find(f.id) for f in suite}
    for entry in disputed.entries:
        assert entry in fitted.values(), f"{entry.pattern} fits no case"
        assert entry.reason and entry.found


def test_disputed_cases_carry_their_reason(suite):
    assert sum(bool(f.disputed) for f in suite) == 9
    broadcast = suite.facts("onnx/pytorch-operator/test_operator_add_broadcast")
    assert "uninitialised" in broadcast.disputed
    assert sum(f.judge == "statistics" for f in suite) == 10
    assert suite.facts("onnx/node/test_bernoulli_seed_expanded").judge == "statistics"
    assert suite.facts("onnx/node/test_training_dropout_zero_ratio_mask").judge == "values"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml [", "disputed.toml"),
        ("[[case]]\npattern = 'a'", "disputed.toml"),
        (
            "[[case]]\npattern='a'\njudge='guess'\nreason='r'\nfound='f'",
            "judge 'guess' is none of",
        ),
    ],
)
def test_bad_list(text, words):
    with pytest.raises(DataError, match=words):
        parse_disputed(text)


# Values -----------------------------------------------------------------------------------------


def test_a_value_of_another_type_than_declared_is_refused():
    proto = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    with pytest.raises(TypeError, match=r"tensor\(double\) is no value of type tensor\(float\)"):
        value_of(np.zeros(1), proto)


def test_maps():
    proto = onnx.helper.make_map_type_proto(
        onnx.TensorProto.STRING,
        onnx.helper.make_tensor_type_proto(onnx.TensorProto.INT64, None),
    )
    value = value_of({"a": 1, "b": 2}, proto)
    assert value.keys.bits().tolist() == ["a", "b"]
    assert value.values.bits().tolist() == [1, 2]
