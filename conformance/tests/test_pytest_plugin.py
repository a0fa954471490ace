"""The suites as tests: what becomes of which outcome, markers, expectations, and two workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hal_conformance.case import load_suite
from hal_conformance.cells import operators_and_types

from hal.plugins import Registry

pytest_plugins = ["pytester"]

NODE = "hal_conformance.case"  # as pytest prints it
FAULTY = Path(__file__).parent / "faulty" / "hal_faulty.py"
EXPECTATIONS = """
[[expect]]
pattern = "onnx/node/test_erf"
status = "xfail"
reason = "off by a hundredth"
link = "https://example.org/1"

[[expect]]
pattern = "onnx/node/test_cos"
status = "xfail"
outcome = "crash"
reason = "dies"

[[expect]]
pattern = "onnx/node/test_neg"
status = "xfail"
reason = "was wrong once"

[[expect]]
pattern = "onnx/node/test_ce*"
status = "xfail"
reason = "loses its shape, but for celu"

[[expect]]
pattern = "onnx/node/test_sqr*"
status = "xfail"
reason = "nothing of it fails any more"
"""


Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs cases on a device in this process, all or those of `ids`."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def call(device: str, *arguments: str, ids: Sequence[str] = ()) -> pytest.RunResult:
        nodes = [f"{NODE}::onnx/node/{name}" for name in ids] or ["hal_conformance"]
        options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-rA", "--hal-device", device]
        return pytester.runpytest_inprocess("--pyargs", *nodes, *options, *arguments)

    return call


Install = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a plugin of one module for this process and its hosts; returns where."""
    site = tmp_path / "site"
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(site)

    def call(module: str, text: str) -> Path:
        info = site / f"{module}-0.1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(f"[hal]\n{module} = {module}\n")
        (site / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return site

    return call


@pytest.fixture
def faulty(install: Install) -> str:
    """The device of the plugin that is wrong on purpose, with expectations beside it."""
    site = install("hal_faulty", FAULTY.read_text())
    (site / "hal_faulty.expectations.toml").write_text(EXPECTATIONS)
    return "faulty:cpu"


def test_what_becomes_of_each_outcome(run: Run, faulty: str) -> None:
    chosen = ("erf", "cos", "neg", "ceil", "ceil_example", "celu", "sqrt", "abs", "round")
    result = run(faulty, ids=[f"test_{name}" for name in chosen])
    assert result.parseoutcomes() == {"failed": 3, "xfailed": 2, "xpassed": 3, "passed": 1}
    result.stdout.fnmatch_lines_random(
        [
            "XFAIL *::onnx/node/test_erf - off by a hundredth (https://example.org/1)*",
            "XFAIL *::onnx/node/test_ceil - loses its shape*",
            "XPASS *::onnx/node/test_celu - loses its shape*",
            "FAILED *::onnx/node/test_neg - *XPASS(strict)* was wrong once*",
            "wrong: *",
            "listed as crash: dies",
            "crash: *",
            "hal conformance -d faulty:cpu --suite onnx -k onnx/node/test_abs --repro repro",
            "9 cases: 5 pass, 3 wrong, 1 crash",
        ]
    )


def test_a_stale_line_over_several_cases_fails_the_run(run: Run, faulty: str) -> None:
    names = [n for c in load_suite("onnx") if (n := c.id[len("onnx/node/") :])[:8] == "test_sqr"]
    result = run(faulty, ids=names)
    assert result.parseoutcomes() == {"xpassed": len(names)}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"expectations: *test_sqr*all of its {len(names)} cases pass*"])
    few = run(faulty, ids=names[:1])
    assert few.ret == pytest.ExitCode.OK, "a part of the line's cases says nothing of the rest"


def test_what_the_backend_refuses(run: Run) -> None:
    ids = ("test_softmax_axis_0", "test_add")
    result = run("example:cpu", ids=ids)
    assert result.parseoutcomes() == {"skipped": 1, "passed": 1}
    result.stdout.fnmatch_lines(
        ["SKIPPED * unsupported: example:cpu does not take 1 node: Softmax*"]
    )
    result = run("example:cpu", "--hal-unsupported", "fail", ids=ids)
    assert result.parseoutcomes() == {"failed": 1, "passed": 1}


def collected(result: pytest.RunResult) -> set[str]:
    return {line.partition("::")[2] for line in result.outlines if line.startswith("hal_conf")}


def test_markers_and_words(run: Run) -> None:
    cases = list(load_suite("onnx"))
    wanted = {
        c.id
        for c in cases
        if "Cast" in c.operators
        and "float16" in {t for _, t in operators_and_types(c.cells, c.operators)}
    }
    quiet = ("--collect-only", "-q", "--strict-markers")
    expression = "hal_operator(name='Cast') and hal_dtype(name='float16')"
    assert collected(run("example:cpu", *quiet, "-m", expression)) == wanted
    assert wanted < collected(run("example:cpu", *quiet, "-k", "Cast and float16"))
    everything = run("example:cpu", *quiet)
    order = [n.partition("::")[2] for n in everything.outlines if n.startswith("hal_conf")]
    assert order == [c.id for c in cases]


def test_a_profile(run: Run) -> None:
    quiet = ("--collect-only", "-q", "--hal-profile", "quantized")
    expression = "not hal_profile(name='quantized')"
    everything, none = run("example:cpu", *quiet), run("example:cpu", *quiet, "-m", expression)
    assert 0 < len(collected(everything)) < 1000 and not collected(none)


SUITE = """
import hal
from hal.suite import SuiteCase, SuiteCases, SuiteSpec, Verdict

class Backend:
    def devices(self):
        return [hal.Device("small:cpu", "cpu")]

class Runner:
    def run(self, device, case_id):
        if case_id.endswith("b"):
            return Verdict(hal.Outcome.WRONG, reason="by one")
        return Verdict(hal.Outcome.PASS, hal.Evidence.SOLE)

def cases():
    return SuiteCases("small 1", tuple(SuiteCase(f"small/{n}", n, ("all",)) for n in "abc"))

@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec("small", Backend)]

@hal.hookimpl
def hal_suites():
    return [SuiteSpec("small", "small", cases, Runner)]
"""


def test_a_suite_of_a_plugin(run: Run, install: Install) -> None:
    install("hal_small", SUITE)
    result = run("small:cpu", "--hal-suite", "small", "-m", "hal_profile(name='all')")
    assert result.parseoutcomes() == {"passed": 2, "failed": 1}
    result.stdout.fnmatch_lines(["FAILED hal_conformance.case::small/b - wrong: by one*"])
    again = run("small:cpu", "--hal-suite", "small", "-m", "hal_operator(name='c')")
    assert again.parseoutcomes() == {"passed": 1, "deselected": 2}


def test_one_host_for_all_cases(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = Registry.host

    def host(self: Registry, name: str, **limits: object) -> object:
        made.append(name)
        return real(self, name, **limits)

    monkeypatch.setattr(Registry, "host", host)
    result = run("example:cpu", "-k", "test_add or test_mul")
    assert result.parseoutcomes()["passed"] > 5
    assert len(made) <= 2, "one to list the devices, one for all cases"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing:cpu",), "nothing"),
        (("example:gpu",), "has no device 'example:gpu'"),
        (("example:cpu", "--hal-suite", "onyx"), "Did you mean 'onnx'?"),
        (("example:cpu", "--hal-profile", "cor"), "Did you mean 'core'?"),
        (("example:cpu", "--hal-suite", "torch"), "runs on devices of the backend torch"),
    ],
    ids=["backend", "device", "suite", "profile", "suite-of-another"],
)
def test_what_does_not_exist(arguments: tuple[str, ...], said: str, run: Run) -> None:
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert said in text and "next: " in text and "Traceback" not in text


def test_expectations_that_cannot_be_read(run: Run, faulty: str, tmp_path: Path) -> None:
    (tmp_path / "site" / "hal_faulty.expectations.toml").write_text("[[expect]]\npattern = 'x'\n")
    result = run(faulty)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "status is missing" in result.stdout.str() + result.stderr.str()


def test_two_workers(pytester: pytest.Pytester, faulty: str) -> None:
    ids = [f"{NODE}::onnx/node/test_{n}" for n in ("erf", "abs", "add", "ceil")]
    result = pytester.runpytest_subprocess(
        "--pyargs", *ids, "--hal-device", faulty, "-n", "2", "-p", "no:cacheprovider"
    )
    assert result.parseoutcomes() == {"failed": 1, "passed": 1, "xfailed": 2}
    result.stdout.fnmatch_lines(["4 cases: 1 pass, 2 wrong, 1 crash"])


def test_the_cases_without_a_device_ask_for_one(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--pyargs", "hal_conformance")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--hal-device ID" in result.stderr.str() + result.stdout.str()


def test_without_a_device_nothing_is_loaded(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_modules():
            print(sorted(n for n in sys.modules if n.split(".")[0] in ("hal", "hal_conformance",
                  "onnx", "numpy", "pluggy_", "typer")))
        """
    )
    result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    assert result.parseoutcomes() == {"passed": 1}
    result.stdout.fnmatch_lines(["*['hal_conformance', 'hal_conformance.pytest_plugin']*"])
