"""`--depth deep`: seeded, finite, minimal cases that are made again from their ids, apart from the
score."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hal_conformance
import jsonschema
import numpy as np
import pytest
from hal_conformance.case import Case, load_suite
from hal_conformance.deep import run as deep_run
from hal_conformance.deep.choices import Choices, Replayed, Unfit
from hal_conformance.deep.makers import Target, targets
from hal_conformance.deep.search import Found, search
from hal_conformance.report import SCHEMA, Limits, read
from hal_conformance.testdata import proto_of
from hypothesis import given, settings
from hypothesis import strategies as st

from hal import BackendSpec, Device, Outcome, Tensor
from hal.cli import main
from hal.plugins import load_plugins

DEVICE = Device("broken:cpu", "cpu")
EQUAL = "contract/Equal-19/int64-"


def target(stem: str) -> Target:
    return next(t for t in targets() if t.stem == stem)


def bytes_of(case: Case) -> list[bytes]:
    """The model and every tensor of a case."""
    values = [v for d in case.data_sets for v in (*d.inputs.values(), *d.outputs.values())]
    return [case.model.data, *(proto_of(value).SerializeToString() for value in values)]


class Engine:
    """Right, but for what `spoil` does to the outputs. In place of a host."""

    def __init__(self, spoil: Any) -> None:
        self.spoil, self.expected = spoil, {}

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def compile(self, device: Device, model: Any, options: Mapping[str, Any]) -> Engine:
        self.model = model
        return self

    def run(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return dict(self.spoil(self.model, inputs))


def found(stem: str, spoil: Any, draws: int = 40) -> Found:
    spec = BackendSpec("broken", lambda: None)  # type: ignore[arg-type,return-value]
    (one,) = search([target(stem)], DEVICE, spec, lambda: Engine(spoil), {}, draws=draws)
    return one


def negative(model: Any, inputs: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Abs that forgets the last element of a vector of three and more."""
    x = inputs["x0"].numpy()
    y = np.abs(x)
    if x.ndim and x.shape[-1] > 2 and x.size:
        y[..., -1] = x[..., -1]
    yield "y0", Tensor.from_numpy(y)


def test_a_fault_is_found_and_shrunk_to_its_smallest_case() -> None:
    first, again = (
        found("contract/Abs-13/float-", negative),
        found("contract/Abs-13/float-", negative),
    )
    assert first.minimal and first == dataclasses.replace(
        again, minimal=dataclasses.replace(again.minimal, seconds=first.minimal.seconds)
    ), "the same draws every time"
    assert first.minimal.outcome is Outcome.WRONG
    case = load_suite("contract").load(first.minimal.id)
    assert isinstance(case, Case)
    assert case.data_sets[0].inputs["x0"].shape == (3,)  # type: ignore[union-attr]


def test_a_correct_engine_has_no_failure() -> None:
    def right(model: Any, inputs: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        yield "y0", Tensor.from_numpy(np.asarray(np.abs(inputs["x0"].numpy())))

    one = found("contract/Abs-13/float-", right)
    assert one.minimal is None and one.outcomes == {Outcome.PASS: 40}


@pytest.mark.parametrize("reason", ["dies", "stands"])
def test_a_crash_counts_when_a_fresh_host_repeats_it(reason: str) -> None:
    from hal.errors import CrashError

    hosts: list[Engine] = []

    def crash(model: Any, inputs: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        if reason == "dies" or len(hosts) == 1:
            raise CrashError("signal 11")
        yield "y0", Tensor.from_numpy(np.asarray(np.abs(inputs["x0"].numpy())))

    def new_host() -> Engine:
        hosts.append(Engine(crash))
        return hosts[-1]

    spec = BackendSpec("broken", lambda: None)  # type: ignore[arg-type,return-value]
    chosen = [target("contract/Abs-13/float-")]
    (one,) = search(chosen, DEVICE, spec, new_host, {}, draws=5)  # type: ignore[arg-type]
    assert len(hosts) == 2
    if reason == "dies":
        assert one.minimal and one.minimal.outcome is Outcome.CRASH and not one.note
    else:
        assert one.minimal is None and "crash beside other cases, pass alone" in one.note


def test_every_target_makes_cases_that_are_made_again_from_their_ids() -> None:
    """One case of each operator and type, from the largest and from the smallest choices."""
    suite, chosen = load_suite("contract"), list(targets())
    assert len(chosen) > 850
    operators = {t.ask.name for t in chosen}
    assert {"Add", "Erf", "ReduceSum", "MatMul", "Gemm", "Conv", "MaxPool", "Slice"} <= operators
    assert {"Gather", "LayerNormalization", "Softmax", "Cast", "QuantizeLinear"} <= operators
    made = 0
    for one in [t for t in chosen if t.ask.full]:
        for wanted in (0, 1, 2):
            try:
                case = one.case(Choices(lambda last, n=wanted: min(n, last)))  # type: ignore[misc]
            except Unfit:
                continue
            again = suite.load(case.id)
            assert isinstance(again, Case) and bytes_of(again) == bytes_of(case)
            assert (again.id, again.seed) == (case.id, case.seed)
            assert not case.disputed and case.cells
            made += 1
    assert made > 1.5 * len(operators)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(st.integers(0, 50), max_size=12))
def test_any_numbers_make_a_case_or_none(numbers: list[int]) -> None:
    source = Replayed(numbers)
    choices = Choices(source)
    try:
        case = target("contract/Slice-13/float-").case(choices)
    except Unfit:
        return
    assert case.id.endswith(".".join(map(str, choices.taken)))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("deep") / "report.json"
    chosen = ["--suite", "contract", "-d", "openvino:cpu", "-k", EQUAL, "--depth", "deep"]
    assert main(["conformance", *chosen, "--json", str(file)]) == 0
    return file


def test_a_real_fault_is_listed_apart_from_the_score(report: Path) -> None:
    """OpenVINO compares 64-bit integers as 32-bit ones (docs/findings.md)."""
    schema = Path(hal_conformance.__file__).with_name("report.schema.json").read_text("utf-8")
    document = json.loads(report.read_text(encoding="utf-8"))
    assert document["schema"] == SCHEMA
    jsonschema.validate(document, json.loads(schema))
    (one,) = read(report).reports
    assert one.deep and one.deep.complete and (one.deep.targets, one.deep.draws) == (1, 20)
    (failure,) = one.deep.failures
    assert failure.id.startswith(f"{EQUAL}deep-") and failure.outcome is Outcome.WRONG
    assert failure.id not in {case.id for case in one.cases}
    assert one.scores and one.scores.cases.total == len(one.cases)


def test_its_id_is_shown_and_reproduced_without_hal(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one,) = read(report).reports
    assert one.deep
    case = one.deep.failures[0].id
    arguments = ["conformance", "--suite", "contract", "-d", "openvino:cpu", "-k", case]
    assert main([*arguments, "--show", "--repro", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert "outcome     wrong" in out and "expected False, got True" in out
    (script,) = (tmp_path / "new").glob("*/repro_openvino_cpu.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "AssertionError" in done.stderr
    assert main([*arguments, "-k", "contract/Equal-19/int64-same"]) == 0


def test_control_c_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(chosen: list[Target], *rest: Any, **more: Any) -> Iterator[Found]:
        yield Found(chosen[0].stem, {Outcome.PASS: 3})
        raise KeyboardInterrupt

    monkeypatch.setattr(deep_run, "search", interrupted)
    chosen = list(targets())[:2]
    with load_plugins() as registry:
        device = registry.find_device("ort:cpu")
        deep = deep_run.run_deep(registry, device, chosen, Limits(), {}, 5)
    assert (deep.searched, deep.complete, deep.outcomes) == (1, False, {"pass": 3})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--depth", "deeper"], "there is no depth 'deeper'"),
        (["--depth", "deep", "--suite", "onnx"], "no depth but the default one"),
        (["--depth", "deep", "--show", "-k", EQUAL], "leave out --depth"),
        (["--depth", "deep", "-k", "contract/If-"], "no cases to draw of If"),
        (["-k", f"{EQUAL}deep-999999"], "no deep case"),
        (["-k", f"{EQUAL}deep-0.0.0.0.1.5"], "more numbers than the case"),
        (["-k", "contract/Equal-19/int65-deep-0"], "of this operator and type none"),
    ],
)
def test_bad_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "onnx" not in arguments:
        arguments = ["--suite", "contract", *arguments]
    assert main(["conformance", "-d", "ort:cpu", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_without_hypothesis_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = ["--suite", "contract", "--depth", "deep", "-k", EQUAL]
    assert main(["conformance", "-d", "ort:cpu", *arguments]) == 5
    assert "pip install 'hal-conformance[deep]'" in capsys.readouterr().err
