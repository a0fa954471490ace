"""The suite `contract`: its cases are valid, sound and the same every time."""

from __future__ import annotations

import collections
import subprocess
import sys
import types

import numpy as np
import onnx
import pytest
from hal_conformance.contract.build import build, drafts
from hal_conformance.contract.draft import Ask, Draft, generators_of
from hal_conformance.contract.draw import Draw
from hal_conformance.contract.numbers import narrow, widen
from hal_conformance.contract.older.table import OLDER
from hal_conformance.contract.oracles import expected_of
from hal_conformance.contract.suite import load_contract_suite
from hal_conformance.contract.tolerance import EXACT, accumulated, elementary

from hal import ElementType, Tensor
from hal.contract import CONTRIBUTED_DOMAIN, STABLE_DOMAINS, contract
from hal.errors import UsageError


@pytest.fixture(scope="module")
def suite():
    """The cases of one node each, in the newest version; the others have tests of their own."""
    whole = load_contract_suite()
    older = tuple(f"contract/{row.operator}-{row.version}/" for row in OLDER)
    cases = [f for f in whole if "/qdq/" not in f.id and not f.id.startswith(older)]
    return types.SimpleNamespace(load=whole.load, cases=cases)


def proto(case):
    return onnx.ModelProto.FromString(case.model.data)


def test_ids_are_unique_and_name_their_operator(suite):
    ids = [facts.id for facts in suite.cases]
    assert len(ids) == len(set(ids)) > 8000
    for facts in suite.cases:
        prefix, versioned, slug = facts.id.split("/")
        assert (prefix, facts.suite) == ("contract", "contract")
        name, _, version = versioned.rpartition("-")
        key = name.replace("ai.onnx.ml.", "ai.onnx.ml::").replace(
            "com.microsoft.", "com.microsoft::"
        )
        if key.startswith("ai.onnx.preview"):
            key = "::".join(key.rsplit(".", 1))
        assert contract().latest(key).since_version == int(version)
        assert key in facts.operators
        assert slug


def test_every_case_is_one_node_of_its_operator(suite):
    for facts in suite.cases:
        assert facts.single_operator, facts.id
        assert not facts.expanded


def test_every_case_exercises_a_cell(suite):
    without = {f.single_operator for f in suite.cases if not f.cells}
    # These have no type constraint, and so no cell.
    assert without == {"NonMaxSuppression", "StringNormalizer"}


def test_models_pass_the_checker_at_the_lowest_opset(suite):
    table = contract()
    seen, faulty = set(), set()
    for facts in suite.cases:
        kind = facts.id.rpartition("-")[0]
        if kind in seen:
            continue
        seen.add(kind)
        case = suite.load(facts.id)
        model = proto(case)
        onnx.checker.check_model(model)
        try:
            onnx.checker.check_model(model, full_check=True)
        except onnx.shape_inference.InferenceError:
            faulty.add(facts.single_operator)
        operator = table.latest(facts.single_operator)
        opsets = {o.domain: o.version for o in model.opset_import}
        if operator.domain == "ai.onnx":
            assert opsets == {"": operator.since_version}
        else:
            assert opsets[operator.domain] == operator.since_version
        assert model.ir_version == table.ir_version(opsets)
    # The bodies of these functions do not type-check over all types that their schemas allow.
    assert faulty == {"MeanVarianceNormalization", "RMSNormalization"}


def test_data_fits_the_model(suite):
    for facts in suite.cases:
        case = suite.load(facts.id)
        graph = proto(case).graph
        fed = {i.name for i in graph.input} - {i.name for i in graph.initializer}
        for data in case.data_sets:
            assert set(data.inputs) == fed
            assert set(data.outputs) == {o.name for o in graph.output}


def test_nothing_is_disputed_without_being_known(suite):
    """Two oracles disagree nowhere in onnx 1.23.2; where its evaluator is at fault, a generator
    says so and does not ask it."""
    if onnx.__version__ == "1.23.2":
        assert [f.id for f in suite.cases if f.disputed] == []


def test_coverage_does_not_fall(suite):
    cells = {c.id for c in contract().cells()}
    covered = cells & {c for f in suite.cases for c in f.cells}
    assert len(covered) >= 2830


def test_operators_of_every_domain(suite):
    domains = {contract().latest(f.single_operator).domain for f in suite.cases}
    assert domains == {*contract().domains, CONTRIBUTED_DOMAIN}
    assert {*STABLE_DOMAINS} < domains


@pytest.mark.parametrize("key", ["Softmax", "TopK", "If", "ai.onnx.ml::Scaler", "Cast"])
def test_a_case_is_made_again_from_its_id(suite, key):
    ask, draft = list(drafts(key))[-1]
    again = build(ask, draft)
    kept = suite.load(again.id)
    assert again.model.data == kept.model.data
    for a, b in zip(again.data_sets, kept.data_sets, strict=True):
        for mine, theirs in ((a.inputs, b.inputs), (a.outputs, b.outputs)):
            assert list(mine) == list(theirs)
            tensors = [v for v in mine.values() if isinstance(v, Tensor)]
            assert [t.data.tobytes() for t in tensors] == [
                v.data.tobytes() for v in theirs.values() if isinstance(v, Tensor)
            ]


def test_seeds_come_from_the_id():
    same = [Draw("contract/Abs-13/float-values").floats((4,)).tolist() for _ in range(2)]
    other = Draw("contract/Abs-13/float-edges").floats((4,)).tolist()
    assert same[0] == same[1] != other


def test_symbolic_dimensions_run_at_several_sizes(suite):
    case = suite.load("contract/Add-14/float-symbolic")
    dims = proto(case).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param for d in dims] == ["x0_0", "x0_1"]
    assert len({d.inputs["x0"].shape for d in case.data_sets}) > 1


def test_a_shape_is_constant_in_one_case_and_computed_in_another(suite):
    constant, computed = (
        suite.load(f"contract/Tile-13/float-all{end}") for end in ("", "-computed")
    )
    assert [t.name for t in proto(constant).graph.initializer] == ["x1"]
    assert list(constant.data_sets[0].inputs) == ["x0"]
    assert list(computed.data_sets[0].inputs) == ["x0", "x1"]


def test_families_are_hard_where_they_should_be(suite):
    seen: dict[str, set[str]] = collections.defaultdict(set)
    for facts in suite.cases:
        seen[facts.single_operator].add(facts.id.partition("-")[2].partition("-")[2])
    for operator in ("Exp", "Add", "MatMul", "ReduceSum"):
        assert len(seen[operator]) >= 8, operator
    inputs = suite.load("contract/Exp-13/float-edges").data_sets[0].inputs["x0"]
    values = widen(inputs)
    assert np.isinf(values).any() and (np.signbit(values) & (values == 0)).any()
    assert np.isnan(widen(suite.load("contract/Exp-13/float-nan").data_sets[0].inputs["x0"])).any()


def make(expected, **settings):
    operator = contract().latest("Neg")
    ask = Ask(operator, "T", "tensor(float)")
    x = narrow(np.array([1.0, 2.0]), ElementType.FLOAT)
    return operator, ask.draft("made", [x], [expected] if expected is not None else (), **settings)


def test_two_oracles_agree():
    verdict = expected_of(*make(np.array([-1.0, -2.0])))
    assert (verdict.disputed, verdict.alone) == ("", "")


def test_two_oracles_disagree():
    verdict = expected_of(*make(np.array([-1.0, 2.0])))
    assert "reference evaluator, output y0: 1 of 2 elements differ" in verdict.disputed


def test_one_oracle_says_why_it_is_alone():
    verdict = expected_of(*make(np.array([5.0, 5.0]), oracle="none", reason="because"))
    assert (verdict.disputed, verdict.alone) == ("", "because")
    assert expected_of(*make(None)).alone == "no formula"


def test_no_oracle_is_a_fault_of_the_generator():
    with pytest.raises(ValueError, match="without any oracle"):
        expected_of(*make(None, oracle="none"))


def test_an_id_given_twice_is_refused(monkeypatch):
    def twice(ask: Ask):
        for _ in range(2):
            yield make(np.array([-1.0, -2.0]))[1]

    monkeypatch.setattr("hal_conformance.contract.build.generators_of", lambda key: (twice,))
    with pytest.raises(ValueError, match="given twice"):
        list(drafts("Neg"))


ORDER = """
import importlib, json, sys
for module in sys.argv[1:]:
    importlib.import_module(f"hal_conformance.{module}")
from hal_conformance.contract.build import load_families
from hal_conformance.contract.draft import generators_of
from hal_conformance.contract.older.table import OLDER
from hal.contract import contract
load_families()
known = [generators_of(op.key) for op in contract().operators] + [[r.generator for r in OLDER]]
print(json.dumps([[f"{g.__module__}.{g.__name__}" for g in some] for some in known]))
"""


@pytest.mark.parametrize(
    "first",
    [
        "contract.families.recurrent",
        "contract.older.steps",
        "contract.quantized.families.movement",
    ],
)
def test_cases_do_not_depend_on_what_is_imported_first(first):
    """What follows from an operator's drafts depends on their order."""
    found = [
        subprocess.run(
            [sys.executable, "-c", ORDER, *modules], capture_output=True, text=True, check=True
        ).stdout
        for modules in ((), (first,))
    ]
    assert found[0] == found[1] and "recurrent" in found[0]


def test_unknown_case(suite):
    with pytest.raises(UsageError, match="has no case"):
        suite.load("contract/Add-14/float-nothing")


def test_every_generator_belongs_to_an_operator():
    list(drafts("Abs"))
    keys = {op.key for op in contract().operators}
    assert all(generators_of(key) for key in ("Abs", "Conv", "ai.onnx.ml::Scaler"))
    assert not generators_of("NoSuch") and "NoSuch" not in keys


@pytest.mark.parametrize(
    ("value", "element", "expected"),
    [
        # Just above a tie of bfloat16: through float32 it would become the tie, and go to even.
        (1 + 2.0**-8 + 2.0**-40, ElementType.BFLOAT16, 1 + 2.0**-7),
        (1 + 2.0**-8, ElementType.BFLOAT16, 1.0),
        (1 + 3 * 2.0**-8, ElementType.BFLOAT16, 1 + 2.0**-6),
        (1 + 2.0**-11 + 2.0**-40, ElementType.FLOAT16, 1 + 2.0**-10),
        (3e38 * 10, ElementType.BFLOAT16, np.inf),
        (5.0, ElementType.FLOAT4E2M1, 4.0),
        (2.0**-133, ElementType.BFLOAT16, 2.0**-133),
    ],
)
def test_narrowing_rounds_once(value, element, expected):
    assert widen(narrow(np.array(value), element)).item() == expected


def test_narrowing_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="int8 holds"):
        narrow(np.array([128]), ElementType.INT8)
    with pytest.raises(ValueError, match="no fractions"):
        narrow(np.array([0.5]), ElementType.INT8)


def test_tolerances_are_by_type_and_operator():
    assert elementary(ElementType.INT32, "Add") == EXACT
    assert elementary(ElementType.FLOAT, "Add").rtol == pytest.approx(2.0**-23)
    assert elementary(ElementType.FLOAT, "Exp").rtol == pytest.approx(3 * 2.0**-23)
    assert elementary(ElementType.BFLOAT16, "Exp").rtol == pytest.approx(2 * 2.0**-7)
    short = accumulated(ElementType.FLOAT, terms=4, magnitude=4.0)
    long = accumulated(ElementType.FLOAT, terms=400, magnitude=400.0)
    assert long.atol > 1000 * short.atol
    half = accumulated(ElementType.BFLOAT16, terms=400, magnitude=400.0)
    assert half.atol < 400 * 2.0**-8, "an accumulator of bfloat16 must not pass"


def test_drafts_are_immutable():
    draft = make(np.array([-1.0, -2.0]))[1]
    assert isinstance(draft, Draft)
    with pytest.raises(AttributeError):
        draft.slug = "other"  # type: ignore[misc]
