"""How good routing's decisions are, over whole models.

    python benchmarks/routing.py [--models NAME ...] [--minutes M] [--only PART] [--state FILE]

For each of the 22 models of hal_conformance.models (seeded weights; drawn inputs of one image, 128
tokens or a second of sound), and for float32
and a budget of error of 0.02: what `hal route` decides among ort:cpu, openvino:cpu and torch:cpu,
from a store that knows only the models decided before; then every candidate, measured exhaustively,
side by side in blocks, in a store of its own (but for those that take over six times the best's in
a single run). The exhaustive times judge the decisions:

- regret: the time of the choice over that of the best candidate (1: nothing was missed)
- speed-up: the time of onnxruntime's default over that of the choice (of: over that of the best)
- gain: the same for the best single candidate for all models, which a user would otherwise fix;
  where it is wrong on a model, onnxruntime's default stands for it
- wrong: choices that break their budget on other inputs than those that they were decided on
- share: candidates that were run, of those that could have been

Each model's figures are kept in the state file: a run goes on where the last one ended, for
`--minutes` at most, and prints the table of what is there. `--only decisions` or `--only times`
makes one part; `--anew` forgets that part first. What TorchInductor compiles is kept from model to
model beside the state file for the exhaustive times, and compiled anew for each decision.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from hal_conformance.models import names, path

from hal.graph import read_model
from hal.inputs import draw_inputs
from hal.paths import cache_dir
from hal.plugins import Registry, load_plugins
from hal.reference import Reference
from hal.routing import Route
from hal.routing._asked import Asked, questions
from hal.routing._decide import Request, decide
from hal.routing._environment import Environment
from hal.routing._identity import Known, identify
from hal.routing._load import model_of
from hal.routing._trial import Trial, tolerances
from hal.store import Store

DEVICES = ("ort:cpu", "openvino:cpu", "torch:cpu")
BUDGETS: dict[str, float | None] = {"float32": None, "0.02": 0.02}
DEFAULT = "ort:cpu"
PARTS = ("decisions", "times")
SIZES = {"batch": 1, "sequence": 128, "past": 128, "total": 256, "samples": 16000}
"""Of open dimensions: a paragraph, or a second of sound. Quick tests draw smaller ones."""
SEED = 11


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=[], choices=names(), metavar="NAME")
    parser.add_argument("--minutes", type=float, default=7.0, help="0: only print the table")
    parser.add_argument("--only", choices=PARTS, help="the other part is left as it is")
    parser.add_argument("--anew", action="store_true", help="forget what is there of that part")
    parser.add_argument("--state", type=Path, default=cache_dir() / "benchmarks" / "routing.json")
    arguments = parser.parse_args()
    state = arguments.state
    state.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(state.read_text()) if state.exists() else {}
    parts = [arguments.only] if arguments.only else list(PARTS)
    if arguments.anew:
        for part in parts:
            forget(found, part, state)
    order = list(names())
    random.Random(SEED).shuffle(order)
    end = time.monotonic() + 60 * arguments.minutes
    slowest = 0.0
    for name in arguments.models or order:
        missing = [part for part in parts if part not in found.get(name, ())]
        if not missing:
            continue
        start = time.monotonic()
        if start + slowest > end:
            break
        print(f"{name}: load {os.getloadavg()[0]:.2f}", end="", flush=True)
        with load_plugins() as registry:
            made = figures(registry, name, state, missing)
        found[name] = {**found.get(name, {}), **made, "load": os.getloadavg()[0]}
        slowest = max(slowest, time.monotonic() - start)
        print(f" to {os.getloadavg()[0]:.2f}, {time.monotonic() - start:.0f} s", flush=True)
        temporary = state.with_suffix(".new")
        temporary.write_text(json.dumps(found, indent=1))
        temporary.replace(state)
    report({name: made for name, made in found.items() if all(part in made for part in PARTS)})


def forget(found: dict[str, Any], part: str, state: Path) -> None:
    """One part of every model, with its stores."""
    for made in found.values():
        made.pop(part, None)
    for label in BUDGETS if part == "decisions" else ("exhaustive",):
        for file in state.parent.glob(f"{state.stem}-{label}.sqlite*"):
            file.unlink()


def figures(registry: Registry, name: str, state: Path, parts: list[str]) -> dict[str, Any]:
    """One model's decisions, and its exhaustive measurement."""
    environment = Environment()
    with Store(state.with_name(f"{state.stem}-exhaustive.sqlite")) as store:
        known = identify(path(name), store)
    graph = read_model(known.model)
    dims = {dim for info in graph.graph.inputs for dim in info.shape or ()}
    sizes = {name: size for name, size in SIZES.items() if name in dims}
    inexact = Request(accuracy=0.02, devices=DEVICES, sizes=sizes)
    asked = questions(registry, known.model, None, sizes, inexact=True)
    with Reference(registry, known.model) as reference:
        others = draw_inputs(graph, seed=1, sizes=sizes)
        other = Asked(others, reference.run(others))
    made: dict[str, Any] = {}
    if "decisions" in parts:
        made["decisions"] = {}
        for label, accuracy in BUDGETS.items():
            with (
                Store(state.with_name(f"{state.stem}-{label}.sqlite")) as store,
                tempfile.TemporaryDirectory() as inductor,
            ):
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = inductor
                request = dataclasses.replace(inexact, accuracy=accuracy)
                route = decide(registry, known, store, environment, request, asked=asked)
                made["decisions"][label] = {
                    "choice": route.winner.candidate.label,
                    "clear": route.clear,
                    "seconds": route.seconds,
                    "tried": sum(row.tried for row in route.rows),
                    "of": sum(row.state != "struck" for row in route.rows),
                    "wrong": wrong(registry, known, store, route, other),
                    "rows": [
                        [r.candidate.label, r.state, r.predicted, r.once, list(r.blocks), r.reason]
                        for r in route.rows
                        if r.state != "struck"
                    ],
                }
    if "times" in parts:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(state.parent / "inductor")
        with Store(state.with_name(f"{state.stem}-exhaustive.sqlite")) as store:
            request = dataclasses.replace(inexact, budget=150.0, exhaustive=True)
            route = decide(registry, known, store, environment, request, asked=asked)
        made["times"] = {
            row.candidate.label: {
                "seconds": row.median if row.blocks else row.once,
                "blocks": len(row.blocks),
                "spread": row.spread,
                "error": row.error,
                "state": row.state,
                "reason": row.reason,
                "compiled": row.compiled,
                "float32": not (row.candidate.variant or "precision" in row.candidate.options),
            }
            for row in route.rows
            if row.state != "struck"
        }
    return made


def wrong(
    registry: Registry,
    known: Known,
    store: Store,
    route: Route,
    asked: Asked,
) -> list[str]:
    """The outputs of the winner that break the budget on other inputs."""
    allowed = tolerances(asked.answers, route.accuracy)
    candidate = route.winner.candidate
    model = model_of(known, candidate, store)
    trial = Trial(registry, candidate, model, asked.inputs, timeout=120.0)
    try:
        errors = trial.errors([asked])
    finally:
        trial.close()
    return [f"{n}: {e:.3g} of {allowed[n]:.3g}" for n, e in errors.items() if not e <= allowed[n]]


def report(found: dict[str, Any]) -> None:
    """Print the table and what it comes to."""
    line = "{:<14} {:<8} {:<36} {:>9} {:>7} {:>8} {:>6} {:>6} {:>5} {:>6}  {}".format
    print(line("model", "budget", "choice", "ms", "regret", "speed-up", "gain", "tried", "wrong",
               "spread", "best"))  # fmt: skip
    for budget in BUDGETS:
        rows = []
        fixed = best_fixed(found, budget)
        for name, made in found.items():
            times = times_of(made, budget)
            decision = made["decisions"][budget]
            choice = decision["choice"]
            if choice not in times or DEFAULT not in times:
                print(line(name, budget, choice, *[""] * 7, "was not measured exhaustively"))
                continue
            best = min(times, key=lambda n: times[n])
            spread = made["times"][choice]["spread"]
            row = {
                "regret": times[choice] / times[best],
                "speed-up": times[DEFAULT] / times[choice],
                "most": times[DEFAULT] / times[best],
                "gain": times.get(fixed, times[DEFAULT]) / times[choice],
                "tried": decision["tried"] / decision["of"],
                "wrong": len(decision["wrong"]),
                "spread": spread,
            }
            rows.append(row)
            shown = [f"{row[k]:.2f}" for k in ("regret", "speed-up", "gain", "tried")]
            print(line(name, budget, choice, f"{times[choice] * 1e3:.3f}", *shown, row["wrong"],
                       f"{spread:.2f}", best))  # fmt: skip
        if rows:
            means = {k: math.exp(statistics.fmean(math.log(r[k]) for r in rows))
                     for k in ("regret", "speed-up", "most", "gain")}  # fmt: skip
            print(
                f"{budget}, {len(rows)} models: regret {means['regret']:.3f} (worst "
                f"{max(r['regret'] for r in rows):.2f}), speed-up {means['speed-up']:.2f} "
                f"(of {means['most']:.2f}), gain over {fixed} {means['gain']:.2f}, "
                f"wrong {sum(r['wrong'] > 0 for r in rows)}, "
                f"share {statistics.fmean(r['tried'] for r in rows):.0%}, spread "
                f"{statistics.median(r['spread'] for r in rows):.2f} (worst "
                f"{max(r['spread'] for r in rows):.2f})"
            )


def times_of(made: dict[str, Any], budget: str) -> dict[str, float]:
    """The exhaustive times of the candidates that a budget admits and that were right."""
    return {
        label: row["seconds"]
        for label, row in made["times"].items()
        if row["seconds"] and row["state"] in ("won", "lost")
        and (row["float32"] or BUDGETS[budget] is not None)
    }  # fmt: skip


def best_fixed(found: dict[str, Any], budget: str) -> str:
    """The candidate that is best for all models together, if one is fixed."""
    totals: dict[str, float] = {}
    for label in {n for made in found.values() for n in times_of(made, budget)}:
        logs = []
        for made in found.values():
            times = times_of(made, budget)
            if DEFAULT in times:
                logs.append(math.log(times.get(label, times[DEFAULT])))
        totals[label] = sum(logs)
    return min(totals, key=lambda n: totals[n]) if totals else DEFAULT


if __name__ == "__main__":
    main()
