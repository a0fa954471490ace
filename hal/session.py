"""`hal.load`: a model, ready to run on the best of what is here."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hal.arrays import check_feeds
from hal.backend import Option
from hal.errors import ExecutionError, HalError, UnsupportedError, UsageError
from hal.graph import Signature, ValueInfo
from hal.model import Model
from hal.placement import Placement
from hal.routing import Bound, Engine, Route
from hal.routing._identity import identify
from hal.routing._load import open_named, open_routed
from hal.routing._resilient import Upkeep
from hal.routing._route import request_of
from hal.store import Store

if TYPE_CHECKING:
    from hal.split import Plan

__all__ = ["Session", "load"]


def load(
    model: Any,
    device: str = "auto",
    *,
    options: Mapping[str, Option] | None = None,
    policy: str = "latency",
    accuracy: float | None = None,
    inputs: Mapping[str, Any] | None = None,
    budget: float = 20.0,
    allow_emulated: bool = False,
    split: bool = False,
    isolate: bool = False,
    standby: bool = False,
    deadline: float = 60.0,
    verify_every: int = 0,
) -> Session:
    """Load a model, to be run as with onnxruntime.

    `model` is a path, serialized bytes, an `onnx.ModelProto` or a `hal.Model`; external data is
    found beside a path alone. `device` is an id of `hal devices`, with the `options` of its
    compiler; with "auto" HAL measures which is best (`hal.routing.route` says what `policy`,
    `accuracy`, `inputs`, `budget` and `allow_emulated` mean), and keeps the decision: the next load
    takes it from the store.

    A model that no ready device takes whole is refused, with what each lacks. With `split` (and
    `device="auto"`) it is cut into the fewest parts, each for a device that takes it, and `explain`
    says so; a model that a device takes whole is not cut.

    With `isolate` the engine runs in a process of its own: when it dies, or does not answer within
    `deadline` seconds, the next candidate answers the request, and the device is put aside for a
    while. `standby` keeps that candidate open, since opening may take an accelerator minutes.
    `verify_every=n` repeats every n-th request on the reference, and puts a device aside that has
    begun to answer wrongly.

    Raises ModelError for what is no valid model, UsageError for a device or an option that does
    not exist, and the BackendError of a device that cannot be used or does not take the model.
    """
    upkeep = Upkeep(isolate, standby, deadline, verify_every)
    if split and (upkeep.resilient or device != "auto"):
        raise UsageError(
            "split is for device='auto', without isolate, standby and verify_every",
            next_step="hal.load(model, split=True)",
        )
    with Store() as store:
        known = identify(model, store)
        route = None
        if device == "auto":
            if options:
                raise UsageError(
                    "options are of one device's compiler, and no device is named",
                    next_step="name it: hal.load(model, device=..., options=...)",
                )
            request = request_of(
                known,
                policy=policy,
                accuracy=accuracy,
                inputs=inputs,
                budget=budget,
                allow_emulated=allow_emulated,
            )
            try:
                engine, route = open_routed(store, known, request, upkeep)
            except UnsupportedError as error:
                if not split:
                    raise
                from hal.split import open_split

                cut = open_split(known, error)
                return Session(known.model, known.signature, cut, split=cut.plan)
        else:
            engine = open_named(store, known, device, options or {}, upkeep)
    return Session(known.model, known.signature, engine, route)


class Session:
    """A loaded model. `run` may be called from several threads at once.

    As a context manager it is closed at the end; a closed session cannot be run.
    """

    def __init__(
        self,
        model: Model,
        signature: Signature,
        engine: Engine,
        route: Route | None = None,
        split: Plan | None = None,
    ) -> None:
        self.route = route
        """The decision that chose the device, None for one that was named."""
        self.split = split
        """The plan of a model that was cut into parts, None for one that runs whole."""
        self._model = model
        self._signature = signature
        self._engine = engine
        self._run = engine.run
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    @property
    def inputs(self) -> tuple[ValueInfo, ...]:
        """The inputs that a run must be given: name, type and shape of each."""
        return self._signature.inputs

    @property
    def outputs(self) -> tuple[ValueInfo, ...]:
        """The outputs, in the order of a run: name, type and shape of each."""
        return self._signature.outputs

    @property
    def device(self) -> str:
        """The id of the device that answers; of a split model, that with the most of the work."""
        return self._engine.candidate.device.id

    @property
    def placement(self) -> Placement:
        """Where each node of the model runs, by its name; asked of the runtime.

        Raises UnsupportedError where the backend does not tell.
        """
        self._check_open()
        return self._engine.placement()

    def explain(self) -> str:
        """Why this device: the candidates and what was measured, as a table with a summary."""
        events = getattr(self._engine, "events", ())
        if self.route is not None:
            return "\n".join([self.route.text(), *events])
        if self.split is not None:
            return "\n".join([self.split.line, *events])
        return "\n".join([f"{self._engine.candidate.label} was named by the caller", *events])

    def get_inputs(self) -> list[ValueInfo]:
        """As `inputs`; onnxruntime's name for it."""
        return list(self.inputs)

    def get_outputs(self) -> list[ValueInfo]:
        """As `outputs`; onnxruntime's name for it."""
        return list(self.outputs)

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run once: the outputs of these names in this order, all of them for None.

        `feeds` gives every input by name: a NumPy array (ml_dtypes for bfloat16 and its kind,
        strings as objects), a list for a sequence, a dict for a map, None for an empty optional;
        the results have the same forms, and are the caller's. Raises UsageError, expected against
        got, for feeds that do not fit the model, and a HalError for whatever the engine raises.
        """
        try:
            return self._run(output_names, feeds)
        except Exception as error:
            raise self._explained(error, output_names, feeds) from error

    def run_async(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]
    ) -> Future[list[Any]]:
        """Run once in a thread of the session; the future gives what `run` returns or raises."""
        with self._lock:
            self._check_open()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="hal-session")
            return self._pool.submit(self.run, output_names, feeds)

    def bind(self, feeds: Mapping[str, Any]) -> Bound:
        """The model with its inputs in place: `bind(feeds).run()` goes over what their memory holds
        at that moment. The outputs, in the order of its `names`, are arrays that export DLPack;
        a backend that can bind leaves them on its device, and the next run may write over them.
        Inputs in another memory than the device's may be copied there once, when they are bound.
        One thread at a time may run it."""
        self._check_open()
        try:
            return self._engine.bind(feeds)
        except Exception as error:
            raise self._explained(error, None, feeds) from error

    def close(self) -> None:
        """Wait for what `run_async` began, and free what the engine holds."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        self._run = _closed
        self._engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<hal.Session of {self._engine.candidate.label}>"

    def _check_open(self) -> None:
        if self._closed:
            _closed(None, {})

    def _explained(
        self, error: Exception, names: Sequence[str] | None, feeds: Mapping[str, Any]
    ) -> HalError:
        """What to raise for an error of a run: wrong feeds say so, whatever the engine said."""
        if self._closed and isinstance(error, UsageError):
            return error
        try:
            check_feeds(self._signature, names, feeds)
        except UsageError as wrong:
            return wrong
        if isinstance(error, HalError):
            return error
        device = self._engine.candidate.device
        return ExecutionError(
            f"{device.id} failed: {type(error).__name__}: {error}",
            next_step=f"hal doctor {device.backend}",
        )


def _closed(names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
    raise UsageError("the session is closed")
