"""com.microsoft: its table is onnxruntime's, and it is counted apart from the standard."""

from __future__ import annotations

import gzip
import re
from importlib import resources

import pytest

from hal.contract import CONTRIBUTED_DOMAIN, contract
from hal.contract._codec import CONTRIBUTED_FILE_NAME, CONTRIBUTED_VERSION, ONNX_VERSION
from hal.errors import DataError, UsageError

C = contract()
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.skipif(onnxruntime.__version__ != CONTRIBUTED_VERSION, reason="another onnxruntime")
def test_file_equals_installed_onnxruntime() -> None:
    from hal.contract.generate_contributed import build_contributed

    packed = resources.files("hal.contract").joinpath(CONTRIBUTED_FILE_NAME).read_bytes()
    assert gzip.decompress(packed) == build_contributed(), (
        "run python -m hal.contract.generate_contributed"
    )


def test_another_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from hal.contract.generate_contributed import build_contributed

    monkeypatch.setattr(onnxruntime, "__version__", "1.0.0")
    with pytest.raises(DataError, match=re.escape(CONTRIBUTED_VERSION)) as caught:
        build_contributed()
    assert caught.value.next_step


def test_it_is_counted_apart() -> None:
    assert CONTRIBUTED_DOMAIN not in C.domains
    assert len(C.cells()) == 2949
    assert not [op for op in C.operators if op.domain == CONTRIBUTED_DOMAIN]
    assert C.contributed.onnx_version != ONNX_VERSION
    cells = C.cells("microsoft")
    assert {c.domain for c in cells} == {CONTRIBUTED_DOMAIN}
    assert not set(cells) & set(C.cells("full"))


def test_it_is_looked_up_by_name() -> None:
    key = "com.microsoft::MatMulNBits"
    found = C.latest(key)
    assert (found.key, found.since_version) == (key, 1)
    assert C.versions_of(key) == (found,)
    assert C.resolve(CONTRIBUTED_DOMAIN, "MatMulNBits", 1) is found
    assert C.resolve(CONTRIBUTED_DOMAIN, "Nothing", 1) is None
    with pytest.raises(UsageError, match=r"Did you mean 'com\.microsoft::MatMulNBits'"):
        C.latest("com.microsoft::MatMulNBit")


def test_cells_of_a_node() -> None:
    cells = C.cells_of(CONTRIBUTED_DOMAIN, "FastGelu", 1, ["tensor(float)"], ["tensor(float)"])
    assert cells == ("com.microsoft::FastGelu-1/T/tensor(float)",)
