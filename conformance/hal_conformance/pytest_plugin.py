"""The conformance suites as tests: `pytest --pyargs hal_conformance --hal-device ID`.

pytest loads this module wherever hal-conformance is installed, so it imports nothing heavy and does
nothing without --hal-device. The work is in `hal_conformance.pytest_cases`; see docs/pytest.md.
"""

from __future__ import annotations

import pytest

__all__ = ["MARKERS", "pytest_addoption", "pytest_configure"]

MARKERS = (
    "hal_operator(name): a conformance case that exercises the operator",
    "hal_dtype(name): a conformance case over the type, e.g. float, float16, int64, string",
    "hal_profile(name): a conformance case whose operators are all in the profile",
)

_CASES = ("hal_conformance", "hal_conformance.case")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest when it starts."""
    group = parser.getgroup("hal", "conformance of a HAL device: --pyargs hal_conformance")
    group.addoption(
        "--hal-device", metavar="ID", default="", help="the device to test, e.g. ort:cpu"
    )
    group.addoption(
        "--hal-suite", metavar="NAME", default="onnx", help="the source of cases (default: onnx)"
    )
    group.addoption(
        "--hal-profile",
        metavar="NAME",
        default="",
        help="only cases whose operators are all in this profile",
    )
    group.addoption(
        "--hal-unsupported",
        choices=("skip", "fail"),
        default="skip",
        help="what becomes of a case that the backend says it cannot run, and no expectation lists",
    )
    group.addoption(
        "--hal-timeout",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help="seconds that a call of the backend may take (default: 60)",
    )
    group.addoption(
        "--hal-memory",
        metavar="GIB",
        type=float,
        default=4.0,
        help="GiB that a host may grow over its idle size (default: 4)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest when its options are known."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)
    if config.getoption("hal_device"):
        from hal_conformance.pytest_cases import Conformance

        config.pluginmanager.register(Conformance(config), "hal-conformance-cases")
    elif config.getoption("pyargs") and any(a.split("::")[0] in _CASES for a in config.args):
        raise pytest.UsageError(
            "name the device to test, as `hal devices` lists it: --hal-device ID"
        )
