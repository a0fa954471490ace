"""Compile options as they are typed: with `hal bench --device` and `hal conformance --option`."""

from __future__ import annotations

import pytest

from hal._options import parse_options
from hal.errors import UsageError
from hal.plugins import load_plugins
from hal.routing._bench import parse_candidate

TYPED = ["threads=2", "share=0.5", "fixed_shapes=false", "cache=true", "precision=float16", "k=a=b"]
MEANT = {
    "threads": 2,
    "share": 0.5,
    "fixed_shapes": False,
    "cache": True,
    "precision": "float16",
    "k": "a=b",
}


def test_each_has_its_type():
    found = parse_options(TYPED)
    assert found == MEANT
    assert [type(v) for v in found.values()] == [type(v) for v in MEANT.values()]


def test_a_named_device_takes_the_same():
    with load_plugins() as registry:
        assert parse_candidate(registry, ",".join(["ort:cpu", *TYPED])).options == MEANT


@pytest.mark.parametrize("typed", ["threads", "=2", ""])
def test_another_form_is_refused(typed):
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        parse_options([typed])
