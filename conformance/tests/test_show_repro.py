"""`hal conformance --show` and `--repro`, on cases that real engines are known to fail
(docs/findings.md)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from blocked import BLOCKER

from hal.cli import main

ROWS = "contract/Gather-13/string-rows"
PAD = "contract/Pad-25/float-value"

ALONE = BLOCKER + "import runpy\nrunpy.run_path(sys.argv[1])\n"


def conformance(*arguments: str) -> int:
    return main(["conformance", "--suite", "contract", *arguments])


def alone(script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ALONE, str(script)], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def repro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repro") / "new"
    devices = ["-d", "ort:cpu", "-d", "openvino:cpu", "-d", "reference:cpu", "-d", "example:cpu"]
    wanted = ["-k", ROWS, "-k", PAD, "-k", "contract/Add-14/bfloat16-both"]
    assert conformance(*devices, *wanted, "--repro", str(folder)) == 0
    return folder


def test_show_prints_the_case_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert conformance("-d", "ort:cpu", "-k", ROWS, "--show") == 0
    out = capsys.readouterr().out
    for text in (
        f"{ROWS} on ort:cpu",
        "outcome     wrong (assigned)",
        "Gather-13/T/tensor(string)",
        "the standard's words: values are moved",
        "and ONNX's reference evaluator",
        "[Gather] y0 = Gather <axis: int = 0> (x0, x1)",
        "input x1 tensor(int64) [2, 3]",
        "expected y0 tensor(string) [2, 3, 3, 5]",
        "got y0 tensor(string) [2, 3, 3, 5]",
        "[0, 0, 0, 1] expected 'naïve', got ''",
    ):
        assert text in out


def test_show_as_json_names_the_elements_that_differ(tmp_path: Path) -> None:
    file = tmp_path / "case.json"
    assert conformance("-d", "openvino:cpu", "-k", PAD, "--show", "--json", str(file)) == 0
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["schema"] == "hal.case/1"
    (case,) = document["cases"]
    assert (case["outcome"], case["device"]["id"]) == ("wrong", "openvino:cpu")
    assert case["tolerance"] == {**case["tolerance"], "rtol": 0.0, "atol": 0.0}
    (data,) = case["data_sets"]
    assert data["inputs"]["x0"]["shape"] == [4, 5]
    fill = data["inputs"]["x2"]["elements"][0]
    first = data["differences"]["y0"][0]
    assert (first["place"], first["expected"], first["got"]) == ("[0, 0]", fill, 0.0)
    assert data["expected"]["y0"]["elements"][0] == fill


def test_numbers_that_json_lacks_are_text(tmp_path: Path) -> None:
    file = tmp_path / "case.json"
    wanted = ("-k", "contract/Exp-13/float-nan", "-k", "contract/Add-14/float16-edges")
    assert conformance("-d", "reference:cpu", *wanted, "--show", "--json", str(file)) == 0
    text = file.read_text(encoding="utf-8")
    json.loads(text, parse_constant=pytest.fail)
    assert '"NaN"' in text and '"-Infinity"' in text


def test_a_crash_shows_how_far_it_got(hal: Any) -> None:
    done = hal("conformance", "-d", "faulty:cpu", "-k", "onnx/node/test_abs", "--show")
    assert done.returncode == 0, done.stderr
    assert "outcome     crash" in done.stdout
    assert "data set 0: did not run to its end" in done.stdout and "expected y" in done.stdout


def test_a_hosted_suite_says_what_it_cannot_show(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [
        "conformance",
        "--suite",
        "torch",
        "-d",
        "torch:cpu",
        "-k",
        "torch/forward/log1p-float32",
    ]
    assert main([*arguments, "--show"]) == 0
    out = capsys.readouterr().out
    assert "on torch:cpu" in out and "outcome     pass" in out
    assert "There is no ONNX model" in out
    assert main([*arguments, "--repro", str(tmp_path / "new")]) == 2
    assert "no model to write" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("case", "device", "seen"),
    [
        (ROWS, "ort_cpu", ["naïve (DESIRED)", "Mismatched elements: 81 / 90"]),
        (PAD, "openvino_cpu", ["Max absolute difference", "16 / 36"]),
    ],
)
def test_the_script_shows_the_fault_with_the_runtime_alone(
    repro: Path, case: str, device: str, seen: list[str]
) -> None:
    folder = repro / case.replace("/", "_")
    done = alone(folder / f"repro_{device}.py")
    assert done.returncode == 1, done.stderr
    assert "expected" in done.stdout and "got" in done.stdout
    for text in (*seen, "AssertionError"):
        assert text in done.stderr


@pytest.mark.parametrize(("case", "device"), [(PAD, "ort_cpu"), (ROWS, "openvino_cpu")])
def test_the_script_says_when_all_is_well(repro: Path, case: str, device: str) -> None:
    done = alone(repro / case.replace("/", "_") / f"repro_{device}.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("as expected\n")


def test_the_references_script_needs_onnx_alone(repro: Path) -> None:
    script = repro / PAD.replace("/", "_") / "repro_reference_cpu.py"
    assert "blocked: onnx" in alone(script).stderr
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.stdout.endswith("as expected\n"), done.stderr


@pytest.mark.parametrize(
    ("case", "device"),
    [("contract/Add-14/bfloat16-both", "ort_cpu"), (ROWS, "example_cpu")],
)
def test_without_a_shorter_way_the_script_runs_hal(repro: Path, case: str, device: str) -> None:
    """bfloat16 is no type of NumPy's; the example plugin declares nothing. Neither runs the case,
    and both scripts say so."""
    script = repro / case.replace("/", "_") / f"repro_{device}.py"
    assert "Needs HAL and the plugin" in script.read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1 and "UnsupportedError" in done.stderr


def test_a_script_over_hal_compares(tmp_path: Path) -> None:
    case = "contract/Pad-25/bfloat16-value"
    assert conformance("-d", "openvino:cpu", "-k", case, "--repro", str(tmp_path)) == 0
    script = tmp_path / case.replace("/", "_") / "repro_openvino_cpu.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "16 of 36 elements differ" in done.stdout


def test_the_folder_tells_its_story(repro: Path) -> None:
    text = (repro / PAD.replace("/", "_") / "README.md").read_text(encoding="utf-8")
    assert "openvino:cpu: wrong when this was written" in text
    assert "ort:cpu: pass" in text and "16 of 36 elements differ" in text


def test_bad_arguments(repro: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = ("-d", "ort:cpu")
    assert conformance(*device, "-k", "no-such-case", "--show") == 2
    assert "no case matches" in capsys.readouterr().err
    assert conformance(*device, "--show") == 2
    err = capsys.readouterr().err
    assert "--show takes 20 at most" in err and "next: narrow them with -k" in err
    assert conformance(*device, "--repro", str(tmp_path / "new")) == 2
    assert not (tmp_path / "new").exists()
    assert conformance(*device, "-k", ROWS, "--repro", str(repro)) == 2
    assert "is not empty" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert conformance(*device, "-k", ROWS, "--repro", str(tmp_path / "file")) == 4
    assert conformance(*device, "-k", ROWS, "--show", "--fail-under", "cells=1") == 2
    assert "leave out --fail-under" in capsys.readouterr().err
