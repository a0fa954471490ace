"""Runs one case in the host: the oracle on the CPU, the operator on the device, a verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from hal.device import Device
from hal.errors import UsageError
from hal.outcome import Outcome
from hal.placement import Evidence
from hal.suite import Verdict
from hal_torch._compat import cuda_float32
from hal_torch.devices import list_devices, torch_device
from hal_torch.opinfo.compare import Tolerance, leaves, mismatch, tolerance_of
from hal_torch.opinfo.database import dtype_of, operators
from hal_torch.opinfo.draws import DRAWS, same_distribution
from hal_torch.opinfo.names import split_id
from hal_torch.opinfo.reconstruct import RECONSTRUCTIONS
from hal_torch.opinfo.samples import Call, higher, make_samples, move, raised, seeded
from hal_torch.opinfo.watch import Watch

__all__ = ["OpInfoRunner"]

_CPU = torch.device("cpu")
_GRADIENT_FACTOR = 10
"""Gradients take the steps of the operator and those of its derivative."""
_WATCHED = 64
"""Samples that are recorded together; a recording takes memory."""
_LENGTHS_ON_CPU = frozenset({"tensor_split"})
"""Operators that PyTorch demands have their tensors of sections on the CPU, on every device."""
_REFUSES = re.compile(
    r"not (yet |currently )?(implemented|supported|available)|unsupported|does(n't| not) support|"
    r"could not run|no kernel|only support",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class _Trial:
    """A sample, what the oracle makes of it, and how the result is judged."""

    call: Call
    want: list[list[Any]]
    """The leaves of the result, once, or DRAWS times for a random operator."""
    dtypes: list[torch.dtype | None]
    tolerance: Tolerance


class _SkipError(Exception):
    """This sample says nothing: no result of it has a gradient."""


class OpInfoRunner:
    """See `hal.suite.CaseRunner`."""

    def __init__(self) -> None:
        self._listed = False

    def run(self, device: Device, case_id: str) -> Verdict:
        """One case, e.g. "torch/forward/add-float32". Raises UsageError for an id that is none."""
        direction, name, dtype = split_id(case_id)
        op = operators().get(name)
        if op is None:
            raise UsageError(f"the installed torch has no OpInfo {name!r}")
        if not self._listed:
            list_devices()  # which loads the modules of out-of-tree devices
            self._listed = True
        with warnings.catch_warnings(), cuda_float32("ieee"):
            warnings.simplefilter("ignore")
            backward = direction == "backward"
            return _Case(op, dtype_of(dtype), torch_device(device), backward).judge()


class _Case:
    def __init__(self, op: Any, dtype: torch.dtype, device: torch.device, backward: bool) -> None:
        self.op, self.dtype, self.device, self.backward = op, dtype, device, backward

    @property
    def _by_product(self) -> bool:
        """Whether the factors of a decomposition are judged by what they make together."""
        return self.op.full_name in RECONSTRUCTIONS and not self.backward

    def judge(self) -> Verdict:
        trials = list(self._trials())
        if not trials:
            return Verdict(Outcome.DISPUTED, reason="torch declares no sample that can be judged")
        watched = self.device.type != "cpu"
        evidence = Evidence.TRACED if watched else Evidence.SOLE
        results: list[list[list[Any]]] = []
        for start in range(0, len(trials), _WATCHED):
            part = trials[start : start + _WATCHED]
            watch = Watch(self.device, self.dtype) if watched else None
            try:
                with watch or contextlib.nullcontext():
                    for trial in part:
                        results.append([self._on_device(trial, len(results), watch)])
                for index, trial in enumerate(part, start):
                    results[index] += self._more_draws(trial, index)
            except Exception as error:  # noqa: BLE001 (an operator of a device may raise anything)
                return self._failed(error, len(results), len(trials))
            fallback = watch.fallback() if watch else ""
            if fallback:
                return Verdict(Outcome.FALLBACK, evidence, fallback)
        for index, (trial, got) in enumerate(zip(trials, results, strict=True)):
            reason = self._wrong(trial, got)
            if reason:
                text = f"sample {index + 1} of {len(trials)}: {reason}"
                return Verdict(Outcome.WRONG, evidence, text)
        return Verdict(Outcome.PASS, evidence)

    def _trials(self) -> Iterator[_Trial]:
        for index, call in enumerate(
            make_samples(self.op, self.dtype, requires_grad=self.backward)
        ):
            try:
                yield self._trial(call, index)
            except _SkipError:
                continue

    def _trial(self, call: Call, index: int) -> _Trial:
        name = f"oracle {self._name(index)}"
        try:
            with seeded(name), _default_dtype(torch.float64):
                want = self._expected(raised(call), index)
        except _SkipError:
            raise
        except Exception:  # noqa: BLE001 (what is for low precision alone refuses float64)
            with seeded(name):
                want = self._expected(move(call, _CPU), index)
        arguments = {t.dtype for t in _tensors((call.args, call.kwargs))}
        tolerance = tolerance_of(self.op, self.dtype, arguments)
        if self.backward:
            tolerance = tolerance.times(_GRADIENT_FACTOR)
        dtypes: list[torch.dtype | None] = [None] * len(want[0])
        if self.device.type != "cpu":
            with seeded(name):
                like = self._call(move(call, _CPU), index)
            dtypes = [x.dtype if isinstance(x, torch.Tensor) else None for x in like]
        return _Trial(call, want, dtypes, tolerance)

    def _expected(self, call: Call, index: int) -> list[list[Any]]:
        before = torch.get_rng_state()
        want = [self._call(call, index)]
        if not torch.equal(before, torch.get_rng_state()) and not self._by_product:
            want += [self._call(call, index) for _ in range(DRAWS - 1)]
        return want

    def _on_device(self, trial: _Trial, index: int, watch: Watch | None) -> list[Any]:
        call = self._moved(trial)
        with seeded(f"device {self._name(index)}", devices=len(trial.want) > 1):
            return self._call(call, index, watch)

    def _more_draws(self, trial: _Trial, index: int) -> list[list[Any]]:
        if len(trial.want) == 1:
            return []
        call = self._moved(trial)
        with seeded(f"draws {self._name(index)}", devices=True):
            return [self._call(call, index) for _ in trial.want[1:]]

    def _moved(self, trial: _Trial) -> Call:
        return move(trial.call, self.device, first_only=self.op.name in _LENGTHS_ON_CPU)

    def _name(self, index: int) -> str:
        return f"{self.op.full_name} {self.dtype} {index}"

    def _call(self, call: Call, index: int, watch: Watch | None = None) -> list[Any]:
        guard = watch.operator if watch else contextlib.nullcontext
        if not self.backward:
            with guard(), torch.no_grad():
                result = self.op(*call.args, **call.kwargs)
            return leaves(result)
        return self._gradients(call, index, guard)

    def _gradients(self, call: Call, index: int, guard: Callable[[], Any]) -> list[Any]:
        inputs = [t for t in _tensors((call.args, call.kwargs)) if t.requires_grad]
        with guard():
            result = call.for_gradient(self.op(*call.args, **call.kwargs))
        outputs = [t for t in _tensors(result) if t.requires_grad]
        if not outputs or not inputs:
            raise _SkipError
        seeds = [self._cotangent(t, f"{index} {i}") for i, t in enumerate(outputs)]
        with guard():
            found = torch.autograd.grad(outputs, inputs, seeds, allow_unused=True)
        return leaves(
            [torch.zeros_like(t) if g is None else g for g, t in zip(found, inputs, strict=True)]
        )

    def _cotangent(self, output: torch.Tensor, name: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        low = torch.complex64 if output.dtype.is_complex else torch.float32
        made = torch.randn(output.shape, dtype=low, generator=generator)
        if higher(self.dtype) != self.dtype:
            # what the dtype of the case can hold, also for the oracle
            made = made.to(self.dtype if self.dtype.is_complex == low.is_complex else made.dtype)
        made = made.to(output.dtype).to(output.device)
        return made if output.layout is torch.strided else made.to_sparse()

    def _wrong(self, trial: _Trial, got: list[list[Any]]) -> str:
        if self._by_product:
            direct = mismatch(trial.want[0], got[0], trial.dtypes, trial.tolerance)
            return direct and self._not_made_of(trial.call, got[0], trial)
        if len(got) == 1:
            return mismatch(trial.want[0], got[0], trial.dtypes, trial.tolerance)
        want, have = (_stacked(draws) for draws in (trial.want, got))
        return mismatch(want, have, trial.dtypes, trial.tolerance, same_distribution)

    def _not_made_of(self, call: Call, got: Sequence[Any], trial: _Trial) -> str:
        """Why the factors do not give the input back, with the wider of tolerances that a product
        of factors needs."""
        shapes = mismatch(trial.want[0], got, trial.dtypes, trial.tolerance, lambda *pair: "")
        if shapes:
            return shapes
        exact = raised(call)
        with torch.no_grad():
            factors = [g.to(higher(g.dtype)) for g in got]
            pairs = RECONSTRUCTIONS[self.op.full_name](factors, *exact.args, **exact.kwargs)
        for number, (want, have) in enumerate(pairs):
            scale = float(want.abs().max()) if want.numel() else 0.0
            tolerance = trial.tolerance
            wide = Tolerance(tolerance.rtol, tolerance.atol * max(1.0, scale), tolerance.scale)
            reason = mismatch([want], [have], [None], wide)
            if reason:
                return f"product {number} of the factors: {reason}"
        return ""

    def _failed(self, error: Exception, done: int, total: int) -> Verdict:
        text = " ".join(str(error).split())
        message = f"sample {done + 1} of {total}: {type(error).__name__}: {text}"
        refuses = isinstance(error, NotImplementedError) or (
            isinstance(error, (RuntimeError, TypeError)) and _REFUSES.search(text)
        )
        return Verdict(Outcome.UNSUPPORTED if refuses else Outcome.ERROR, None, message)


def _stacked(draws: Sequence[Sequence[Any]]) -> list[Any]:
    return [
        torch.stack(list(each)) if isinstance(each[0], torch.Tensor) else each[0]
        for each in zip(*draws, strict=True)
    ]


def _tensors(item: Any) -> Iterator[torch.Tensor]:
    seen: set[int] = set()
    for leaf in tree_flatten(item)[0]:
        if isinstance(leaf, torch.Tensor) and id(leaf) not in seen:
            seen.add(id(leaf))
            yield leaf


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
