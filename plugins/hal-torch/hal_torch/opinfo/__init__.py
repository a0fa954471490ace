"""PyTorch's own operators as a conformance suite: docs/torch-suite.md says what it measures.

Nothing here imports torch; `runner` does, in the host process.
"""

from __future__ import annotations

from hal.suite import CaseRunner, SuiteCases, SuiteSpec

__all__ = ["SUITES"]

_ENV = {
    "PYTORCH_ENABLE_MPS_FALLBACK": "0",  # Apple's fallback to the CPU
    "OMP_NUM_THREADS": "1",  # the samples are small, and a host runs on every core
}


def _float32() -> SuiteCases:
    from hal_torch.opinfo._cases import float32_cases

    return float32_cases()


def _all() -> SuiteCases:
    from hal_torch.opinfo._cases import all_cases

    return all_cases()


def _runner() -> CaseRunner:
    from hal_torch.opinfo.runner import OpInfoRunner

    return OpInfoRunner()


SUITES = (
    SuiteSpec("torch", "torch", _float32, _runner, "PyTorch's operators in float32", _ENV),
    SuiteSpec("torch-all", "torch", _all, _runner, "PyTorch's operators in every dtype", _ENV),
)
"""`torch` is `torch-all` for float32 alone: their cases have the same ids."""
