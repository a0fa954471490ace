"""Loading plugins: whatever is wrong with one is recorded, and costs no other."""

from __future__ import annotations

from typing import Any

import pytest

from hal.plugins import PluginStatus, Registry, State, load_plugins

GOOD = """
import hal

class Fake:
    def devices(self):
        return [hal.Device(id="{name}:cpu", kind="cpu")]
    def supports(self, device, model):
        return hal.Support()
    def compile(self, device, model, options):
        raise NotImplementedError

@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec(name="{name}", factory=Fake)]
"""

RETURNS = """
import hal

@hal.hookimpl
def hal_backends():
    {body}
"""


def load(name: str) -> tuple[Registry, PluginStatus]:
    registry = load_plugins()
    return registry, next(p for p in registry.plugins if p.name == name)


def test_good_plugin_is_ready(site: Any) -> None:
    module = site.add("fake-good", GOOD.format(name="goodone"), version="3.1")
    registry, status = load("good")
    assert status == PluginStatus(
        name="good",
        module=module,
        distribution="fake-good",
        version="3.1",
        state=State.READY,
        hooks=("hal_backends",),
        backends=("goodone",),
    )
    assert registry.backends["goodone"].module == module
    assert registry.backends["goodone"].distribution == "fake-good"


BROKEN = {
    "import-error": ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at"),
    "syntax-error": ("def (", "SyntaxError"),
    "system-exit": ("raise SystemExit(3)", "SystemExit(3)"),
    "misspelt": (
        "import hal\n@hal.hookimpl\ndef hal_backend(): return []",
        "hal_backend is marked as a hook, but there is no hook of that name. Did you mean "
        "'hal_backends'?",
    ),
    "misspelt-beyond-guessing": (
        "import hal\n@hal.hookimpl\ndef quux(): return []",
        "no hook of that name. Hooks: hal_backends, hal_suites, hal_policies.",
    ),
    "unmarked": ("def hal_backends(): return []", "hal_backends is not marked as a hook"),
    "no-hook": ("", "implements no hook"),
    "argument": (
        "import hal\n@hal.hookimpl\ndef hal_backends(nonsense): return []",
        "nonsense",
    ),
    "newer-seam": ("HAL_SEAM = 99\n" + GOOD.format(name="seamy"), "made for seam 99, and this HAL"),
    "odd-seam": ("HAL_SEAM = 'one'\n" + GOOD.format(name="seamy"), "made for seam 'one'"),
    "returns-none": (RETURNS.format(body="pass"), "expected an iterable of BackendSpec, got NoneT"),
    "returns-text": (RETURNS.format(body="return 'ort'"), "got an item of type str"),
    "returns-raise": (RETURNS.format(body="raise KeyError('oh')"), "hal_backends failed: KeyError"),
    "returns-exit": (RETURNS.format(body="raise SystemExit"), "hal_backends failed: SystemExit"),
    "generator-raise": (RETURNS.format(body="yield 1/0"), "hal_backends failed: ZeroDivisionError"),
    "name": (
        RETURNS.format(body="return [hal.BackendSpec(name='Big Name', factory=list)]"),
        "backend name 'Big Name'",
    ),
    "factory": (
        RETURNS.format(body="return [hal.BackendSpec(name='f', factory=None)]"),
        "the factory of backend 'f' cannot be called",
    ),
    "requires": (
        RETURNS.format(body="return [hal.BackendSpec('f', list, requires='onnx')]"),
        "requires of backend 'f' is a str",
    ),
    "ability": (
        RETURNS.format(body="return [hal.BackendSpec('f', list, abilities={'placement'})]"),
        "holds 'placement', which is no Ability",
    ),
    "twice": (
        RETURNS.format(body="return [hal.BackendSpec('f', list), hal.BackendSpec('f', list)]"),
        "two backends named 'f'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_plugin_is_recorded_and_costs_no_other(site: Any, case: str) -> None:
    source, reason = BROKEN[case]
    site.add("aaa-broken", source)
    site.add("zzz-good", GOOD.format(name="goodone"))
    registry, status = load("broken")
    assert status.state is State.BROKEN
    assert reason in status.reason
    assert status.backends == ()
    assert "goodone" in registry.backends


@pytest.mark.parametrize("case", ["import-error", "system-exit", "returns-raise"])
def test_traceback_is_kept(site: Any, case: str) -> None:
    module = site.add("fake-broken", BROKEN[case][0])
    assert f"{module}.py" in load("broken")[1].traceback


def test_missing_module(site: Any) -> None:
    site.add("fake-gone", entry="not_there_at_all")
    assert "No module named 'not_there_at_all'" in load("gone")[1].reason


def test_entry_point_that_names_no_module(site: Any) -> None:
    module = site.add("fake-object", GOOD.format(name="goodone"), entry="fake_object:hal_backends")
    status = load("object")[1]
    assert "it must name a module" in status.reason
    assert status.next_step == f"write object = '{module}' in its metadata"


def test_same_module_twice(site: Any) -> None:
    module = site.add("fake-one", GOOD.format(name="goodone"))
    site.add("fake-two", entry=module)
    registry, status = load("two")
    assert status.state is State.BROKEN
    assert "already registered as fake-one:one" in status.reason
    assert registry.backends["goodone"].distribution == "fake-one"


def test_duplicate_backend_names_both(site: Any) -> None:
    site.add("fake-b", GOOD.format(name="same"))
    site.add(
        "fake-a",
        RETURNS.format(
            body="return [hal.BackendSpec('same', list), hal.BackendSpec('another', list)]"
        ),
    )
    registry, loser = load("b")
    assert loser.state is State.BROKEN
    assert "fake-a and fake-b both provide a backend named 'same'" in loser.reason
    assert "the one of fake-a is used" in loser.reason
    assert registry.backends["same"].distribution == "fake-a"


def test_loser_of_a_name_provides_nothing(site: Any) -> None:
    site.add("fake-a", GOOD.format(name="same"))
    site.add(
        "fake-b",
        RETURNS.format(
            body="return [hal.BackendSpec('fresh', list), hal.BackendSpec('same', list)]"
        ),
    )
    registry, loser = load("b")
    assert loser.backends == ()
    assert "fresh" not in registry.backends


def test_what_a_plugin_prints_does_not_reach_stdout(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("fake-loud", "print('noise')\n" + GOOD.format(name="loud"))
    assert load("loud")[1].state is State.READY
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "noise" in captured.err


def test_ctrl_c_is_not_swallowed(site: Any) -> None:
    site.add("fake-stop", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_plugins()
