"""`hal ops`: the contract, and what a device declares of it."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from hal.cli._output import console, stderr_console, table, write_json
from hal.contract import (
    CONTRIBUTED_DOMAIN,
    STABLE_DOMAINS,
    UNBOUNDED,
    Contract,
    Operator,
    Parameter,
    Profile,
    contract,
    count,
    profile_names,
)
from hal.errors import AbsentError, UsageError, did_you_mean

__all__ = ["ops"]

_SCHEMA = "hal.ops/1"
_COLUMNS = ("operator", "since", "domain", "family", "cells", "function")


def ops(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(help="Names or globs: Softmax, 'Reduce*'. One name shows it in full."),
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="Only the operators and cells of this profile.")
    ] = "",
    domain: Annotated[str, typer.Option("--domain", "-d", help="Only this domain.")] = "",
    device: Annotated[
        str, typer.Option("--device", help="Show how many cells this device declares.")
    ] = "",
    versions: Annotated[
        bool, typer.Option("--versions", help="Every version, deprecated ones too.")
    ] = False,
    profiles: Annotated[bool, typer.Option("--profiles", help="List the profiles.")] = False,
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage",
            help="How many cells HAL's own cases exercise, and which not (hal.coverage/1).",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=f"Print JSON ({_SCHEMA}).")] = False,
) -> None:
    """Show the contract: every ONNX operator, its versions and its cells.

    A cell is one type that an operator's latest version accepts for one of its type constraints.
    With --device the backend is asked, by one small model a cell, what it takes; nothing runs.

    Examples: hal ops 'Reduce*'   hal ops Softmax   hal ops --profile vision --device ort:cpu
    hal ops --coverage   hal ops --profile microsoft --coverage --json
    """
    table_of = contract()
    if profiles:
        _show_profiles(table_of, as_json=as_json)
        return
    chosen = table_of.profile(profile) if profile else None
    found = _select(table_of, patterns or [], chosen, domain, versions=versions)
    if coverage:
        whole = not (patterns or profile or domain)
        _show_coverage(table_of, found, chosen, whole=whole, as_json=as_json)
    elif device:
        _show_declared(table_of, found, chosen, device, as_json=as_json)
    elif len(found) == 1 and _names_one(patterns or []) and not (versions or profile):
        _show_one(table_of, found[0], as_json=as_json)
    else:
        _show_list(table_of, found, chosen, as_json=as_json)


def _show_coverage(
    table_of: Contract,
    found: Sequence[Operator],
    profile: Profile | None,
    *,
    whole: bool,
    as_json: bool,
) -> None:
    try:  # by name, because the core does not depend on the suites
        module = importlib.import_module("hal_conformance.contract.coverage")
    except ModuleNotFoundError as error:
        raise AbsentError(
            f"hal ops --coverage needs the Python module {error.name!r}, which is not installed",
            next_step="pip install hal-conformance",
        ) from error
    latest = [op for op in found if op.latest]
    stable = [op for op in latest if op.domain in STABLE_DOMAINS]
    counted = (
        latest if profile else stable or latest
    )  # the previews alone, where they are asked for
    cells = [c for op in counted for c in op.cells if profile is None or profile.admits(c)]
    keys = [op.key for op in counted]
    module.show_coverage(table_of, cells, keys, whole=whole, as_json=as_json)


def _select(
    table_of: Contract,
    patterns: Sequence[str],
    profile: Profile | None,
    domain: str,
    *,
    versions: bool,
) -> list[Operator]:
    domains = (*table_of.domains, CONTRIBUTED_DOMAIN)
    if domain and domain not in domains:
        raise UsageError(
            f"the contract has no domain {domain!r}.{did_you_mean(domain, domains)}"
            f" It has {', '.join(domains)}."
        )
    every = table_of.all_versions if versions else table_of.operators
    # Of onnxruntime, not of the standard: only when asked for.
    named = (domain, *patterns, *(profile.operators if profile else ()))
    if any(name.lower().startswith(CONTRIBUTED_DOMAIN) for name in named):
        every += table_of.contributed.operators
    found = [
        op
        for op in every
        if (profile is None or profile.has_operator(op.key, op.domain))
        and (not domain or op.domain == domain)
        and (not patterns or any(_matches(op, p) for p in patterns))
    ]
    for pattern in patterns:
        if any(_matches(op, pattern) for op in every):
            continue
        retired = next((op for op in table_of.all_versions if _matches(op, pattern)), None)
        if retired is not None:
            raise UsageError(
                f"{retired.key} is deprecated and has no cells.",
                next_step=f"hal ops {pattern} --versions",
            )
        names = [name for op in every for name in (op.key, op.name)]
        raise UsageError(
            f"no operator matches {pattern!r}.{did_you_mean(pattern, names)}", next_step="hal ops"
        )
    if not found:
        raise UsageError("no operator fits all of these filters.", next_step="hal ops --profiles")
    return found


def _names_one(patterns: Sequence[str]) -> bool:
    return len(patterns) == 1 and not set(patterns[0]) & set("*?[")


def _matches(operator: Operator, pattern: str) -> bool:
    pattern = pattern.lower()
    names = (operator.name.lower(), operator.key.lower(), operator.id.lower())
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _cells(operator: Operator, profile: Profile | None) -> int:
    return sum(profile is None or profile.admits(cell) for cell in operator.cells)


def _show_list(
    table_of: Contract, found: Sequence[Operator], profile: Profile | None, *, as_json: bool
) -> None:
    cells = [c for op in found for c in op.cells if profile is None or profile.admits(c)]
    tensors, containers = count(cells)
    if as_json:
        rows = [
            {
                "key": op.key,
                "name": op.name,
                "domain": op.domain,
                "since_version": op.since_version,
                "family": op.family,
                "cells": _cells(op, profile),
                "function": op.function,
                "deprecated": op.deprecated,
                "latest": op.latest,
            }
            for op in found
        ]
        _json(table_of, operators=rows, cells=len(cells))
        return
    out = console()
    if found:
        rows_text = (
            (
                op.name,
                str(op.since_version) + (" deprecated" if op.deprecated else ""),
                op.domain,
                op.family,
                str(_cells(op, profile)),
                op.function,
            )
            for op in found
        )
        out.print(table(_COLUMNS, rows_text))
    what = "versions" if len({op.key for op in found}) != len(found) else "operators"
    out.print(
        f"{len(found)} {what}, {len(cells)} cells: {tensors} over tensors, "
        f"{containers} over sequences, optionals and maps ({_sources(table_of, found)})"
    )


def _sources(table_of: Contract, found: Sequence[Operator]) -> str:
    """The releases that the operators were read from."""
    contributed = sum(op.domain == CONTRIBUTED_DOMAIN for op in found)
    releases = []
    if contributed < len(found) or not found:
        releases.append(f"onnx {table_of.onnx_version}")
    if contributed:
        releases.append(f"onnxruntime {table_of.contributed.onnx_version}")
    return ", ".join(releases)


def _show_one(table_of: Contract, operator: Operator, *, as_json: bool) -> None:
    others = table_of.versions_of(operator.key)
    holding = [
        name
        for name in profile_names()
        if table_of.profile(name).has_operator(operator.key, operator.domain)
    ]
    if as_json:
        described = dataclasses.asdict(operator)
        described.update(
            key=operator.key,
            id=operator.id,
            versions=[op.since_version for op in others],
            profiles=holding,
            cells=len(operator.cells),
            cell_ids=[cell.id for cell in operator.cells],
        )
        _json(table_of, operators=[described], cells=len(operator.cells))
        return
    out = console()
    body = f"{operator.function} function body" if operator.function else "no function body"
    out.print(f"{operator.id}  ({operator.domain}, {operator.family}, {body})")
    out.print(f"versions: {', '.join(str(op.since_version) for op in others)}")
    out.print(f"profiles: {', '.join(holding)}")
    for title, parameters, low, high in (
        ("inputs", operator.inputs, operator.min_inputs, operator.max_inputs),
        ("outputs", operator.outputs, operator.min_outputs, operator.max_outputs),
    ):
        upper = "any number" if high == UNBOUNDED else str(high)
        arity = str(low) if low == high else f"{low} to {upper}"
        out.print(f"\n{title} ({arity})")
        for parameter in parameters:
            out.print(f"  {parameter.name}: {parameter.type}{_option(parameter)}")
    if operator.attributes:
        out.print("\nattributes")
        for a in operator.attributes:
            default = f" = {a.default!r}" if a.default is not None else ""
            out.print(f"  {a.name}: {a.type}{' required' if a.required else default}")
    out.print(f"\ncells ({len(operator.cells)})")
    for constraint in operator.constraints:
        out.print(f"  {constraint.name}: {', '.join(constraint.types)}")


def _option(parameter: Parameter) -> str:
    if parameter.option != "variadic":
        return " optional" if parameter.option == "optional" else ""
    mixed = "" if parameter.homogeneous else ", types may differ"
    return f" variadic (at least {parameter.min_arity}{mixed})"


def _show_declared(
    table_of: Contract,
    found: Sequence[Operator],
    profile: Profile | None,
    device_id: str,
    *,
    as_json: bool,
) -> None:
    from rich.progress import track

    from hal.contract.declared import declared
    from hal.plugins import load_plugins

    wanted = [op for op in found if op.latest]
    with load_plugins() as registry:
        device = registry.find_device(device_id)
        with registry.host(device.backend) as host:
            results = [
                declared(table_of, op, host, device, profile)
                for op in track(
                    wanted, f"asking {device.id}", console=stderr_console(), transient=True
                )
            ]
    supported = sum(len(r.supported) for r in results)
    asked = sum(r.asked for r in results)
    if as_json:
        rows = [dataclasses.asdict(r) for r in results]
        _json(table_of, device=device.id, operators=rows, supported=supported, cells=asked)
        return
    out = console()
    rows_text = ((r.operator, f"{len(r.supported)}/{r.asked}", _first(r.reasons)) for r in results)
    out.print(table(("operator", "declared", "first reason"), rows_text))
    out.print(f"{device.id} declares {supported} of {asked} cells of {len(results)} operators")


def _first(reasons: Iterable[str]) -> str:
    return next((" ".join(reason.split())[:120] for reason in reasons), "")


def _show_profiles(table_of: Contract, *, as_json: bool) -> None:
    rows = []
    for name in profile_names():
        profile = table_of.profile(name)
        operators = {op.key for op in table_of.operators_of(profile)} | set(profile.operators)
        rows.append((profile, len(operators), table_of.cells(profile)))
    if as_json:
        described = [
            {
                "name": p.name,
                "title": p.title,
                "source": p.source,
                "groups": [{"source": g.source, "operators": g.operators} for g in p.groups],
                "kinds": p.kinds,
                "operators": operators,
                "cells": len(cells),
            }
            for p, operators, cells in rows
        ]
        _json(table_of, profiles=described)
        return
    columns = ("profile", "operators", "cells", "headline of", "title", "source")
    text = (
        (p.name, str(operators), str(len(cells)), ", ".join(p.kinds), p.title, p.source)
        for p, operators, cells in rows
    )
    console().print(table(columns, text))


def _json(table_of: Contract, **values: Any) -> None:
    about = {"version": table_of.version, "onnx": table_of.onnx_version}
    write_json(_SCHEMA, {"contract": about, **values})
