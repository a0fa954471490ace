"""The suite `models`: each model of the zoo whole, at two sizes, against the reference run.

The facts of all cases are cached in one file. What a case expects is computed when it is first
loaded, some seconds a case, and kept in a file of its own, so that nothing is computed in vain.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from hal import Model, Tensor
from hal.errors import DataError, UnsupportedError
from hal.graph import read_model
from hal.inputs import draw_inputs
from hal.paths import cache_dir
from hal_conformance import models
from hal_conformance.cached_suite import CachedSuite, distribution_version
from hal_conformance.case import Case, DataSet
from hal_conformance.casefile import FORMAT, CaseFile, encode_cases, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from hal.plugins import Registry

__all__ = [
    "ELEMENT_FACTOR",
    "SIZES",
    "ModelsSuite",
    "id_of",
    "load_models_suite",
    "measured_tolerance",
    "sizes_of",
]

_log = logging.getLogger(__name__)

SIZES: tuple[Mapping[str, int], ...] = (
    {"batch": 1, "sequence": 32, "samples": 8000, "past": 16, "total": 48},
    {"batch": 2, "sequence": 17, "samples": 3210, "past": 9, "total": 26},
)
"""The sizes that a model's open dimensions get, in its first case and in its second."""
ELEMENT_FACTOR = 4.0
"""How much further off than its norm one element of an output may be: of a million normally
distributed errors the largest is some five times their deviation."""
_SEED = 0


def load_models_suite() -> ModelsSuite:
    """The suite for the installed onnx. Raises AbsentError if there is none."""
    return ModelsSuite(distribution_version("onnx", "models"))


class ModelsSuite(CachedSuite):
    """See `hal_conformance.case.Suite`. `load` raises UnsupportedError where no engine here can be
    the reference of a model."""

    name = "models"

    def __init__(self, onnx_version: str) -> None:
        self._digest = _digest()
        self._computing = threading.Lock()
        super().__init__(
            f"models {self._digest}, onnx {onnx_version}", f"models-{onnx_version}-{self._digest}"
        )

    def make_cases(self) -> Iterable[Case]:
        """The facts of every case; model and tensors are left empty."""
        for name in models.names():
            yield from _cases(name)

    def load(self, case_id: str) -> Case:
        """One case whole. May be called from several threads; one of them computes at a time."""
        facts = super().load(case_id)
        name = case_id.split("/")[1]
        with self._computing:
            case = self._expected(facts, name)
        return dataclasses.replace(case, model=models.load(name))

    def _expected(self, facts: Case, name: str) -> Case:
        from hal.plugins import load_plugins

        with load_plugins() as registry:
            engine = _first_engine(registry)
            key = hashlib.sha256(engine.encode()).hexdigest()[:8]
            flat = facts.id.replace("/", "-")
            path = cache_dir() / "suites" / f"{flat}-{self._digest}-{key}-{FORMAT}.cases"
            try:
                return CaseFile.open(path).load(facts.id)
            except OSError:
                pass
            except DataError as error:
                _log.warning("%s; the case is made anew", error)
            data = encode_cases([_computed(facts, name, registry)])
        _keep(path, data)
        return CaseFile(data, facts.id).load(facts.id)


def sizes_of(name: str, number: int) -> dict[str, int]:
    """The sizes of a model's open dimensions in its case of that number."""
    return {dim: SIZES[number][dim] for dim in models.info(name).dynamic}


def id_of(name: str, number: int) -> str:
    """The id of a model's case of that number."""
    # The total length is what the others add up to.
    sizes = {d: s for d, s in sizes_of(name, number).items() if d != "total"}
    return f"models/{name}/{'-'.join(f'{dim}{size}' for dim, size in sizes.items())}"


def measured_tolerance(registry: Registry, name: str, number: int) -> tuple[float, float]:
    """What tolerances.json holds for a case: rtol and atol, of the conditioning of its outputs.

    Raises UnsupportedError where no engine here computes in float64.
    """
    from hal.reference import TOLERANCE_FACTOR, Reference

    model = models.load(name)
    inputs = draw_inputs(read_model(model), seed=_SEED, sizes=sizes_of(name, number))
    with Reference(registry, model) as reference:
        run = reference.run(inputs)
    if run.precision != "float64":
        raise UnsupportedError(
            f"{run.engine} computes in {run.precision}", next_step="pip install hal-torch"
        )
    rtol = atol = 0.0
    for output, value in run.outputs.items():
        if isinstance(value, Tensor):
            allowed = ELEMENT_FACTOR * TOLERANCE_FACTOR * run.conditioning[output]
            norm = float(np.sqrt(np.mean(np.square(value.numpy(), dtype=np.float64))))
            rtol, atol = max(rtol, allowed), max(atol, allowed * norm)
    return float(f"{rtol:.2g}"), float(f"{atol:.2g}")


def _cases(name: str) -> Iterator[Case]:
    from hal_conformance.model_facts import model_facts

    facts = dataclasses.asdict(model_facts(models.bare(name)))
    tolerances = _tolerances()
    for number in range(len(SIZES)):
        sizes, case_id = sizes_of(name, number), id_of(name, number)
        rtol, atol = tolerances[case_id]
        yield Case(
            id=case_id,
            suite="models",
            expanded=False,
            rtol=rtol,
            atol=atol,
            model=Model(b""),
            data_sets=(),
            tolerance_source=(
                "16 times the relative error of float32 itself on this model (PyTorch's in float32 "
                "against its own in float64, as an L2 norm), 4 times that for a single element"
            ),
            seed=f"hal.inputs seed {_SEED}, {', '.join(f'{d}={s}' for d, s in sizes.items())}",
            **facts,
        )


def _computed(facts: Case, name: str, registry: Registry) -> Case:
    from hal.reference import Reference

    model = models.load(name)
    number = [id_of(name, n) for n in range(len(SIZES))].index(facts.id)
    inputs = draw_inputs(read_model(model), seed=_SEED, sizes=sizes_of(name, number))
    with Reference(registry, model) as reference:
        run = reference.run(inputs, conditioning=False)
    return dataclasses.replace(
        facts,
        data_sets=(DataSet(inputs, run.outputs),),
        oracles=f"{run.engine} in {run.precision}",
    )


def _first_engine(registry: Registry) -> str:
    """What the expected values depend on beside the case: the engines that may be asked, in order,
    by backend and the version of its plugin's distribution."""
    import importlib.metadata

    found = []
    for name, backend in registry.backends.items():
        if backend.spec.reference is None:
            continue
        versions = []
        for distribution in (backend.distribution, *backend.spec.requires):
            try:
                versions.append(importlib.metadata.version(distribution))
            except importlib.metadata.PackageNotFoundError:
                versions.append("")
        found.append(f"{name} {' '.join(versions)}")
    return "; ".join(found)


def _keep(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        _log.warning(
            "what a case expects is computed again next time: %s: %s",
            path.parent,
            error.strerror or error,
        )


def _tolerances() -> dict[str, tuple[float, float]]:
    text = (resources.files("hal_conformance.models") / "tolerances.json").read_text("utf-8")
    return {name: (rtol, atol) for name, (rtol, atol) in json.loads(text).items()}


def _digest() -> str:
    """Changes with whatever a case is made of: graphs, weights, sizes, tolerances."""
    digest = hashlib.sha256()
    package = resources.files("hal_conformance.models")
    sources = [package / "_weights.py", package / "tolerances.json"]
    sources += sorted((package / "graphs").iterdir(), key=lambda p: p.name)
    for file in [*sources, resources.files("hal_conformance") / "suite_models.py"]:
        digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
