"""The judge of the suite torch: what it lets pass and what it catches, and the list of cases."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hal_torch.opinfo import SUITES, reconstruct
from hal_torch.opinfo._cases import all_cases, family_of, float32_cases, reason_left_out
from hal_torch.opinfo.compare import Tolerance, mismatch
from hal_torch.opinfo.database import operators
from hal_torch.opinfo.draws import DRAWS, same_distribution
from hal_torch.opinfo.runner import OpInfoRunner

from hal.device import Device
from hal.errors import UsageError
from hal.outcome import Outcome

CPU = Device("torch:cpu", "cpu")
FLOAT32 = Tolerance(1.3e-5, 1e-4, 5e-7)


def check(want: Any, have: Any, dtype: torch.dtype | None = None) -> str:
    return mismatch([want], [have], [dtype], FLOAT32)


def test_the_suites_cover_what_torch_declares() -> None:
    everything = all_cases()
    forward = [c for c in everything.cases if c.id.startswith("torch/forward/")]
    pairs = sum(len(op.dtypes) for op in operators().values())
    out = sum(len(operators()[name].dtypes) for name in everything.left_out)
    assert len(operators()) == 702
    assert pairs == 6121
    assert len(forward) == pairs - out
    assert not everything.others
    single = float32_cases()
    assert {c.id for c in single.cases} | set(single.others) == {c.id for c in everything.cases}
    assert {c.id.rpartition("-")[2] for c in single.cases} == {"float32"}
    assert single.cases[0].groups[0] == "forward"


def test_every_operator_that_is_left_out_has_a_reason() -> None:
    for name, reason in all_cases().left_out.items():
        assert reason, name
    assert "uninitialised" in reason_left_out("new_empty_strided")
    assert "CUDA" in reason_left_out("jiterator_unary")
    assert reason_left_out("add") == ""


@pytest.mark.parametrize(
    ("name", "kind", "family"),
    [
        ("exp", "UnaryUfuncInfo", "elementwise, one input"),
        ("linalg.svd", "OpInfo", "linear algebra"),
        ("nn.functional.conv2d", "OpInfo", "convolution and pooling"),
        ("nn.functional.gelu", "OpInfo", "activation"),
        ("sum", "ReductionOpInfo", "reduction"),
        ("nn.functional.dropout", "OpInfo", "random"),
    ],
)
def test_families(name: str, kind: str, family: str) -> None:
    assert family_of(name, kind) == family


def test_the_parent_imports_no_torch() -> None:
    code = (
        "import sys, hal_torch; hal_torch.hal_suites()[0].cases(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert {s.name for s in SUITES} == {"torch", "torch-all"}


def test_what_is_wrong_is_named() -> None:
    one = torch.ones(3, dtype=torch.float64)
    assert check(one, torch.ones(3)) == ""
    assert check(one, torch.tensor([1, 1.0001, 1])) == ""
    assert "1 of 3 values differ, worst at (1,)" in check(one, torch.tensor([1, 1.01, 1]))
    assert check(one, torch.ones(3, 1)) == "shape (3, 1), expected (3,)"
    assert "dtype float16, expected float32" in check(one, torch.ones(3).half(), torch.float32)
    assert "dtype int64" in check(one, torch.ones(3, dtype=torch.int64))
    assert "values differ" in check(one, torch.tensor([1, torch.nan, 1]))
    nan = torch.tensor([torch.nan, torch.inf], dtype=torch.float64)
    assert check(nan, nan.float()) == ""
    assert "2 results" in mismatch([one], [one, one], [None], FLOAT32)


def test_integers_are_exact() -> None:
    whole = torch.tensor([2**62, 1])
    assert check(whole, whole.clone()) == ""
    assert "1 of 2" in check(whole, whole + torch.tensor([1, 0]))
    high = torch.tensor([2**64 - 1], dtype=torch.uint64)
    assert check(high, high.clone()) == ""


def test_overflow_of_the_dtype_is_infinite() -> None:
    assert check(torch.tensor([1e6], dtype=torch.float64), torch.tensor([torch.inf]).half()) == ""


def draws_of(function: Any, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([function(generator) for _ in range(DRAWS)])


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (lambda g: torch.rand(25, generator=g), True),
        (lambda g: torch.rand(25, generator=g) * 2, False),
        (lambda g: torch.rand(25, generator=g) * 0.7 + 0.15, False),
        (lambda g: torch.full((25,), 0.5), False),
        (lambda g: torch.randn(25, generator=g), False),
    ],
)
def test_distributions_are_told_apart(other: Any, same: bool) -> None:
    want = draws_of(lambda g: torch.rand(25, generator=g, dtype=torch.float64), 1)
    assert (same_distribution(want, draws_of(other, 2), FLOAT32) == "") is same


def test_what_is_drawn_as_a_whole_counts_once() -> None:
    def channels(generator: torch.Generator) -> torch.Tensor:
        return (torch.rand(4, 1, generator=generator) < 0.5).float().expand(4, 1000)

    for seed in range(2, 30):
        assert not same_distribution(draws_of(channels, 1), draws_of(channels, seed), FLOAT32)


@pytest.mark.parametrize("name", ["linalg.eigh", "linalg.svd", "linalg.qr"])
def test_another_choice_of_signs_is_right_and_another_factor_is_not(name: str) -> None:
    matrix = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = matrix + matrix.T
    out = [x.clone() for x in operators()[name](matrix)]
    rule = reconstruct.RECONSTRUCTIONS[name]

    def wrong(parts: Sequence[torch.Tensor]) -> bool:
        return any(not torch.allclose(want, have) for want, have in rule(parts, matrix))

    assert not wrong(out)
    vectors = 1 if name == "linalg.eigh" else 0
    flipped = [x.clone() for x in out]
    flipped[vectors][..., :, 0] *= -1
    if name == "linalg.svd":
        flipped[2][..., 0, :] *= -1
    if name == "linalg.qr":
        flipped[1][..., 0, :] *= -1
    assert not wrong(flipped)
    broken = [x.clone() for x in out]
    broken[vectors][..., 0, 0] += 0.01
    assert wrong(broken)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_wrong_kernel_is_caught(monkeypatch: pytest.MonkeyPatch, direction: str) -> None:
    case = f"torch/{direction}/mul-float32"
    assert OpInfoRunner().run(CPU, case).outcome is Outcome.PASS
    op = operators()["mul"]
    right = op.op

    def slightly(left: Any, other: Any, **options: Any) -> Any:
        found = right(left, other, **options)
        return found * 1.001 if found.dtype == torch.float32 else found

    monkeypatch.setattr(op, "op", slightly)
    verdict = OpInfoRunner().run(CPU, case)
    assert verdict.outcome is Outcome.WRONG
    assert "values differ" in verdict.reason


def test_an_unknown_case_is_a_usage_error() -> None:
    for case in ("torch/forward/no_such_operator-float32", "onnx/node/test_abs"):
        with pytest.raises(UsageError):
            OpInfoRunner().run(CPU, case)


def test_every_reconstruction_is_of_an_operator() -> None:
    assert set(reconstruct.RECONSTRUCTIONS) <= set(operators())
