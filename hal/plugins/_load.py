"""Loading of plugins: import each entry point of the group `hal`, and record what comes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import TypeVar

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from hal import hookspecs
from hal.backend import Ability, BackendSpec, EnvironmentSpec
from hal.errors import BrokenError, did_you_mean
from hal.plugins._homes import housed, remote_backends
from hal.plugins._registry import Registry
from hal.plugins._status import (
    PluginStatus,
    RegisteredBackend,
    RegisteredPolicy,
    RegisteredSuite,
    State,
)
from hal.policy import PolicySpec
from hal.suite import SuiteSpec

__all__ = ["load_backend", "load_plugins"]

_BACKEND_NAME = re.compile(r"[a-z][\w-]*")
_FILE_NAME = re.compile(r"\w[\w.-]*")
_DOCS = "see docs/hooks.md"
_Spec = TypeVar("_Spec", BackendSpec, SuiteSpec, PolicySpec)
_Registered = TypeVar("_Registered", RegisteredBackend, RegisteredSuite, RegisteredPolicy)


def load_plugins() -> Registry:
    """Import every installed plugin and ask it for its backends, suites and policies.

    No backend is probed and no vendor SDK imported. Raises nothing for a plugin that fails: it is
    in `Registry.plugins` as broken, with the reason and the traceback.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins: list[PluginStatus] = []
    backends: dict[str, RegisteredBackend] = {}
    suites: dict[str, RegisteredSuite] = {}
    policies: dict[str, RegisteredPolicy] = {}
    for entry_point in sorted(
        importlib.metadata.entry_points(group=hookspecs.ENTRY_POINT_GROUP),
        key=lambda e: (_distribution(e), e.name, e.value),
    ):
        status = PluginStatus(
            name=entry_point.name,
            module=entry_point.value,
            distribution=_distribution(entry_point),
            version=entry_point.dist.version if entry_point.dist else "",
            state=State.READY,
        )
        try:
            loaded = _load(manager, status)
            status = loaded.status
            _refuse_taken("backend", backends, loaded.backends)
            _refuse_taken("suite", suites, loaded.suites)
            _refuse_taken("policy", policies, loaded.policies)
            backends.update((new.name, new) for new in loaded.backends)
            suites.update((new.name, new) for new in loaded.suites)
            policies.update((new.name, new) for new in loaded.policies)
        except BrokenError as error:
            status = dataclasses.replace(
                status,
                state=State.BROKEN,
                backends=(),
                reason=str(error),
                next_step=error.next_step,
                traceback=error.traceback,
            )
        plugins.append(status)
    backends.update(remote_backends())
    return Registry(tuple(plugins), backends, suites, policies)


def load_backend(backend: str, *, module: str, distribution: str, version: str) -> Registry:
    """A registry of one backend, of the plugin that is known to provide it: for who has no time to
    import the others. Raises BrokenError when the plugin fails or provides it no more."""
    if "/" in backend:  # of another machine: no plugin of this one is asked
        return Registry((), {k: b for k, b in remote_backends().items() if k == backend})
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    loaded = _load(manager, PluginStatus(module, module, distribution, version, State.READY))
    found = {b.name: b for b in loaded.backends if b.name == backend}
    if not found:
        raise BrokenError(f"{module} provides no backend {backend!r} any more", next_step=_DOCS)
    return Registry((loaded.status,), found)


def _distribution(entry_point: importlib.metadata.EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else ""


@dataclasses.dataclass(frozen=True)
class _Loaded:
    status: PluginStatus
    backends: list[RegisteredBackend]
    suites: list[RegisteredSuite]
    policies: list[RegisteredPolicy]


def _load(manager: pluggy.PluginManager, status: PluginStatus) -> _Loaded:
    """Import, check, register and ask one plugin; raises BrokenError for whatever is wrong."""
    if ":" in status.module:
        raise BrokenError(
            f"the entry point names {status.module!r}; it must name a module",
            next_step=f"write {status.name} = {status.module.partition(':')[0]!r} in its metadata",
        )
    module = _import(status.module)
    _check_seam(module)
    hooks = _hooks(module, _known_hooks())
    unique = f"{status.distribution}:{status.name}"
    if manager.is_registered(module):
        raise BrokenError(f"{status.module} is already registered as {manager.get_name(module)}")
    try:
        manager.register(module, unique)
    except pluggy.PluginValidationError as error:
        # pluggy's message names the hook, its arguments and the definition, a line each.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise BrokenError(" ".join(lines), next_step=_DOCS) from None
    specs = _ask(manager, module, "hal_backends", BackendSpec, _wrong)
    backends = [
        housed(RegisteredBackend(spec, status.module, status.distribution, status.version))
        for spec in specs
    ]
    suites = [
        RegisteredSuite(spec, status.module, status.distribution)
        for spec in _ask(manager, module, "hal_suites", SuiteSpec, _wrong_suite)
    ]
    policies = [
        RegisteredPolicy(spec, status.module, status.distribution)
        for spec in _ask(manager, module, "hal_policies", PolicySpec, _wrong_policy)
    ]
    names = tuple(spec.name for spec in specs)
    status = dataclasses.replace(status, hooks=hooks, backends=names)
    return _Loaded(status, backends, suites, policies)


def _import(name: str) -> ModuleType:
    try:
        # What a plugin prints while it is imported must not get into a report on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except SystemExit as error:
        raise BrokenError(
            f"importing {name} ended with SystemExit({error.code!r})",
            traceback=traceback.format_exc(),
        ) from None
    except Exception as error:  # noqa: BLE001 (whatever a plugin raises is its recorded state)
        raise BrokenError(
            f"importing {name} failed: {_describe(error)}", traceback=traceback.format_exc()
        ) from None


def _check_seam(module: ModuleType) -> None:
    version = getattr(module, "HAL_SEAM", hookspecs.SEAM_VERSION)
    if version == hookspecs.SEAM_VERSION:
        return
    newer = isinstance(version, int) and version > hookspecs.SEAM_VERSION
    raise BrokenError(
        f"{module.__name__} is made for seam {version!r}, "
        f"and this HAL has seam {hookspecs.SEAM_VERSION}",
        next_step="pip install --upgrade hal-core" if newer else "upgrade the plugin",
    )


def _known_hooks() -> list[str]:
    marker = f"{hookspecs.PROJECT}_spec"
    return [name for name, value in vars(hookspecs).items() if hasattr(value, marker)]


def _hooks(module: ModuleType, known: list[str]) -> tuple[str, ...]:
    """The hooks that a module implements, by name; raises BrokenError for one that is no hook."""
    functions = {n: f for n, f in vars(module).items() if callable(f)}
    marked = [n for n, f in functions.items() if f"{hookspecs.PROJECT}_impl" in _attributes(f)]
    for name in marked:
        if name not in known:
            hint = did_you_mean(name, known) or f" Hooks: {', '.join(known)}."
            raise BrokenError(
                f"{module.__name__}.{name} is marked as a hook, but there is no hook of that name."
                f"{hint}",
                next_step=_DOCS,
            )
    for name in functions:
        if name in known and name not in marked:
            raise BrokenError(
                f"{module.__name__}.{name} is not marked as a hook",
                next_step=f"put @hal.hookimpl above def {name}",
            )
    if not marked:
        raise BrokenError(
            f"{module.__name__} implements no hook. Hooks: {', '.join(known)}.", next_step=_DOCS
        )
    return tuple(sorted(marked))


def _attributes(function: object) -> dict[str, object]:
    return getattr(function, "__dict__", {})


def _ask(
    manager: pluggy.PluginManager,
    module: ModuleType,
    hook: str,
    kind: type[_Spec],
    wrong: Callable[[_Spec], str],
) -> list[_Spec]:
    """What the module's implementation of a hook returns, checked; raises BrokenError."""
    name = f"{module.__name__}.{hook}"
    # Called one by one, because one that raises must not cost the others, and pluggy drops a None.
    functions = [
        impl.function
        for impl in getattr(manager.hook, hook).get_hookimpls()
        if impl.plugin is module
    ]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            specs = [spec for function in functions for spec in _iterable(function(), name, kind)]
    except BrokenError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a plugin's failure is its state)
        raise BrokenError(
            f"{name} failed: {_describe(error)}", traceback=traceback.format_exc()
        ) from None
    for spec in specs:
        reason = wrong(spec) if isinstance(spec, kind) else _wrong_type(spec, kind)
        if reason:
            raise BrokenError(f"{name}: {reason}", next_step=_DOCS)
    names = [spec.name for spec in specs]
    for twice in {n for n in names if names.count(n) > 1}:
        raise BrokenError(f"{name} returns two {_noun(kind)}s named {twice!r}")
    return specs


def _iterable(result: object, name: str, kind: type[_Spec]) -> Iterable[_Spec]:
    if not isinstance(result, Iterable):
        raise BrokenError(
            f"{name}: expected an iterable of {kind.__name__}, got {type(result).__name__}",
            next_step=_DOCS,
        )
    return result


def _wrong_type(spec: object, kind: type[_Spec]) -> str:
    return f"expected an iterable of {kind.__name__}, got an item of type {type(spec).__name__}"


def _noun(kind: type[_Spec]) -> str:
    return {BackendSpec: "backend", SuiteSpec: "suite", PolicySpec: "policy"}[kind]


def _wrong(spec: BackendSpec) -> str:
    """What is wrong with an item that hal_backends returned, or ""."""
    if not isinstance(spec.name, str) or not _BACKEND_NAME.fullmatch(spec.name):
        return f"backend name {spec.name!r} is not a lower-case letter and then word characters"
    if not callable(spec.factory):
        return f"the factory of backend {spec.name!r} cannot be called"
    if spec.repro is not None and not callable(spec.repro):
        return f"repro of backend {spec.name!r} cannot be called"
    for field in ("requires", "abilities"):
        value = getattr(spec, field)
        if isinstance(value, str) or not isinstance(value, (tuple, list, set, frozenset)):
            return f"{field} of backend {spec.name!r} is a {type(value).__name__}, not a collection"
    if not all(isinstance(r, str) for r in spec.requires):
        return f"requires of backend {spec.name!r} holds something that is no string"
    for ability in spec.abilities:
        if not isinstance(ability, Ability):
            return f"abilities of backend {spec.name!r} holds {ability!r}, which is no Ability"
    return "" if spec.environment is None else _wrong_environment(spec.name, spec.environment)


def _wrong_environment(backend: str, spec: EnvironmentSpec) -> str:
    """What is wrong with the environment that a backend asks for, or ""."""
    what = f"environment of backend {backend!r}"
    if not isinstance(spec, EnvironmentSpec):
        return f"{what} is a {type(spec).__name__}, not an EnvironmentSpec"
    if not isinstance(spec.name, str) or not _BACKEND_NAME.fullmatch(spec.name):
        return f"{what}: the name {spec.name!r} is not a lower-case letter and then word characters"
    if not isinstance(spec.lock, str) or not _FILE_NAME.fullmatch(spec.lock):
        return f"{what}: the lock file {spec.lock!r} is no name of a file"
    try:
        SpecifierSet(spec.python)
    except (InvalidSpecifier, TypeError, AttributeError):
        return f"{what}: {spec.python!r} is no version specifier, such as '>=3.10,<3.13'"
    return ""


def _wrong_suite(spec: SuiteSpec) -> str:
    """What is wrong with an item that hal_suites returned, or ""."""
    if not isinstance(spec.name, str) or not _BACKEND_NAME.fullmatch(spec.name):
        return f"suite name {spec.name!r} is not a lower-case letter and then word characters"
    for field in ("cases", "runner"):
        if not callable(getattr(spec, field)):
            return f"{field} of suite {spec.name!r} cannot be called"
    if not isinstance(spec.backend, str) or not _BACKEND_NAME.fullmatch(spec.backend):
        return f"suite {spec.name!r} is for {spec.backend!r}, which is no name of a backend"
    return ""


def _wrong_policy(spec: PolicySpec) -> str:
    """What is wrong with an item that hal_policies returned, or ""."""
    if not isinstance(spec.name, str) or not _BACKEND_NAME.fullmatch(spec.name):
        return f"policy name {spec.name!r} is not a lower-case letter and then word characters"
    return "" if callable(spec.score) else f"score of policy {spec.name!r} cannot be called"


def _refuse_taken(
    noun: str,
    known: Mapping[str, _Registered],
    provided: Sequence[_Registered],
) -> None:
    """Raises BrokenError when one of the names belongs to another plugin already."""
    for new in provided:
        if new.name in known:
            first, second = known[new.name].distribution, new.distribution
            raise BrokenError(
                f"{first} and {second} both provide a {noun} named {new.name!r}; "
                f"the one of {first} is used",
                next_step=f"pip uninstall {second} (or {first})",
            )


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
