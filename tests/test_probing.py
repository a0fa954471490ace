"""Asking a driver in a process of its own: every way in which it may not answer is a reason."""

from __future__ import annotations

import sys

import pytest

from hal.probing import ask


def python(code: str, **options: float) -> tuple[object, str]:
    return ask([sys.executable, "-c", code], **options)


def test_answer_is_the_last_line() -> None:
    assert python("print('hello'); print('{\"a\": [1]}')") == ({"a": [1]}, "")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", "its driver ended the process with signal 6"),
        ("import sys; print('no card'); sys.exit(3)", "no card"),
        ("raise OSError('libfoo.so: gone')", "OSError: libfoo.so: gone"),
        ("import sys; sys.exit(4)", "it ended with exit code 4"),
        ("print('rubbish')", "it gave no answer but 'rubbish'"),
        ("", "it gave no answer"),
    ],
)
def test_no_answer_has_a_reason(code: str, reason: str) -> None:
    assert python(code) == (None, reason)


def test_hang_ends() -> None:
    assert python("import time; time.sleep(60)", seconds=0.5) == (None, "no answer in 0.5 s")
