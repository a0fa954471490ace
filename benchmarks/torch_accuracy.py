"""How near torch:cpu comes to onnxruntime's CPU provider over the benchmarks' models.

    python benchmarks/torch_accuracy.py [--models NAME ...] [--mode eager compile] [--batch N ...]

For each model and mode it prints, over the batches and, where the model leaves it open, the
sequence lengths, the largest absolute error of any output and the largest relative L2 error, with
its tolerance. The exit code is 1 if an error is above its tolerance, if a compiled model ran in
eager mode, if a value is not finite where onnxruntime's is, if a shape or type differs, or if a
model could not be run.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Iterator
from typing import Any

import hal_torch
import numpy as np
import onnxruntime
from torch_models import ARCHITECTURES, LIGHT, BenchmarkModel, load

import hal
from hal.errors import HalError

MODES = ("eager", "compile")
TOLERANCE = 5e-5
"""Relative L2 error of an output. Float32 has an epsilon of 1.2e-7, and sums of many terms in
another order, layer after layer, add up: onnxruntime without its graph optimisations differs from
onnxruntime with them by 1e-7 to 2e-6, and by 1.1e-5 in MobileNet, whose clipped activations and
random weights magnify it."""


@dataclasses.dataclass(frozen=True)
class Row:
    """The worst of a model in a mode, over its batches and sequence lengths."""

    model: str
    mode: str
    runs: int
    absolute: float
    relative: float
    wrong: str
    """What is wrong; empty if nothing is."""

    def __str__(self) -> str:
        verdict = f"FAIL {self.wrong}" if self.wrong else "pass"
        return (
            f"{self.model:16} {self.mode:8} {self.runs:4}   {self.absolute:8.1e}   "
            f"{self.relative:8.1e}   {TOLERANCE:8.1e}   {verdict}"
        )


class Warned(logging.Handler):
    """What the backend warns of: that a mode is not the one that was asked for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=[*LIGHT, *ARCHITECTURES])
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--sequence", nargs="+", type=int, default=[17, 64])
    options = parser.parse_args()
    unknown = sorted({*options.models} - {*LIGHT, *ARCHITECTURES})
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}; there are {[*LIGHT, *ARCHITECTURES]}")
    print(f"{'model':16} {'mode':8} runs    max abs     rel L2  tolerance", flush=True)
    rows = []
    for name in options.models:
        for mode in options.mode:
            rows.append(check(name, mode, options.batch, options.sequence))
            print(rows[-1], flush=True)
    failed = [f"{r.model} ({r.mode})" for r in rows if r.wrong]
    print(f"{len(rows) - len(failed)} of {len(rows)} pass", *failed, sep="; ")
    return 1 if failed else 0


def check(name: str, mode: str, batches: list[int], sequences: list[int]) -> Row:
    """Compile a model once, and run it at each batch and sequence length."""
    runs, absolute, relative, wrong = 0, 0.0, 0.0, ""
    warned = Warned()
    logging.getLogger("hal_torch").addHandler(warned)
    try:
        for model in shapes(name, batches, sequences):
            if not runs:
                executable, session = engines(model, mode)
            fed = {n: hal.Tensor.from_numpy(x) for n, x in model.inputs.items()}
            got = executable.run(fed)
            runs += 1
            for info, expected in zip(
                session.get_outputs(), session.run(None, model.inputs), strict=True
            ):
                error = errors(expected, got[info.name].numpy())
                absolute, relative = max(absolute, error[0]), max(relative, error[1])
                if error[1] > TOLERANCE and not wrong:
                    fed_shapes = {n: list(x.shape) for n, x in model.inputs.items()}
                    wrong = f"{info.name} of {fed_shapes}"
    except HalError as error:
        wrong = f"{type(error).__name__}: {error}"
    finally:
        logging.getLogger("hal_torch").removeHandler(warned)
    wrong = wrong or "; ".join(warned.messages)
    return Row(name, mode, runs, absolute, relative, wrong)


def shapes(name: str, batches: list[int], sequences: list[int]) -> Iterator[BenchmarkModel]:
    """The model with inputs of each batch and sequence length that it takes."""
    dynamic = load(name).dynamic
    for batch in batches if "batch" in dynamic else [1]:
        for sequence in sequences if "sequence" in dynamic else [8]:
            yield load(name, batch, sequence)


def engines(model: BenchmarkModel, mode: str) -> tuple[Any, Any]:
    """torch:cpu's executable and onnxruntime's session."""
    backend = hal_torch.hal_backends()[0].factory()
    device = next(d for d in backend.devices() if d.id == "torch:cpu")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(model.path), settings, providers=["CPUExecutionProvider"]
    )
    return backend.compile(device, hal.Model.from_path(model.path), {"mode": mode}), session


def errors(expected: np.ndarray[Any, Any], got: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Largest absolute and relative L2 error; infinite if shape, dtype or finiteness differ."""
    if (expected.shape, expected.dtype) != (got.shape, got.dtype):
        return np.inf, np.inf
    if not np.array_equal(np.isfinite(expected), np.isfinite(got)):
        return np.inf, np.inf
    finite = np.isfinite(expected)
    want = expected[finite].astype(np.float64)
    difference = got[finite].astype(np.float64) - want
    scale = float(np.linalg.norm(want)) or 1.0
    return float(np.max(np.abs(difference), initial=0.0)), float(np.linalg.norm(difference)) / scale


if __name__ == "__main__":
    sys.exit(main())
