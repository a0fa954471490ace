"""Which model it is, and what a decision depends on."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hal.routing._identity as identity
from hal.errors import ModelError
from hal.model import Model
from hal.routing._environment import Environment, changes, machine, packages
from hal.routing._identity import Known, identify
from hal.store import Store

F = TensorProto.FLOAT


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "store.sqlite")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """y = x + w, its weights in w.bin."""
    weight = numpy_helper.from_array(np.arange(64, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", F, ["n", 64])],
        [helper.make_tensor_value_info("y", F, ["n", 64])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    target = tmp_path / "model.onnx"
    onnx.save(model, target, save_as_external_data=True, location="w.bin", size_threshold=0)
    return target


def settle(path: Path) -> None:
    """Make a file one that was written long ago."""
    os.utime(path, (1e9, 1e9))


def test_a_known_model_is_neither_hashed_nor_decoded(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (path, path.with_name("w.bin")):
        settle(file)
    first = identify(path, store)
    assert first.fresh and [i.shape for i in first.signature.inputs] == [("n", 64)]
    assert first.model.external == ("w.bin",)

    def never(*_: Any) -> Any:
        raise AssertionError("it is known")

    monkeypatch.setattr(identity, "read_model", never)
    hashed = functools.cached_property(never)
    hashed.__set_name__(Model, "fingerprint")
    monkeypatch.setattr(Model, "fingerprint", hashed)
    again = identify(path, store)
    assert (again.fingerprint, again.fresh) == (first.fingerprint, False)
    assert again.signature == first.signature


def fingerprint(path: Path, store: Store) -> str:
    return identify(path, store).fingerprint


def test_other_weights_are_another_model(path: Path, store: Store) -> None:
    weights = path.with_name("w.bin")
    settle(weights)
    first = fingerprint(path, store)
    same = weights.read_bytes()
    weights.write_bytes(bytes(len(same)))
    other = fingerprint(path, store)
    assert other != first
    weights.write_bytes(same)
    assert fingerprint(path, store) == first, "by content"
    weights.write_bytes(same[:-1])
    with pytest.raises(ModelError, match="255 bytes"):
        identify(path, store)
    weights.unlink()
    with pytest.raises(ModelError, match=r"w\.bin"):
        identify(path, store)
    with pytest.raises(ModelError, match="without its folder"):
        identify(path.read_bytes(), store)


def test_large_weights_go_by_inode_size_and_time(
    path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "HASHED", 100)
    weights = path.with_name("w.bin")
    settle(weights)
    first = fingerprint(path, store)
    assert fingerprint(path, store) == first
    os.utime(weights, (1.1e9, 1.1e9))
    assert fingerprint(path, store) != first


def test_a_link_to_the_weights_changes_nothing(path: Path, store: Store) -> None:
    weights = path.with_name("w.bin")
    settle(weights)
    before = identity._identity(weights)
    weights.with_name("link.bin").hardlink_to(weights)  # as hal-openvino does
    assert identity._identity(weights) == before


def test_a_file_written_within_the_clocks_tick_is_read_again(path: Path, store: Store) -> None:
    """Two writes in one tick have the same times: such an identity is not kept."""
    identify(path, store)
    assert not store.rows("files")
    settle(path)
    settle(path.with_name("w.bin"))
    identify(path, store)
    assert len(store.rows("files")) == 2


def test_without_a_store_it_is_the_same(path: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    none = Store(tmp_path / "file" / "store.sqlite")
    a, b = identify(path, none), identify(path, store)
    assert (a.fingerprint, a.signature) == (b.fingerprint, b.signature)
    store.put("models", b.model.fingerprint, {"of": "another version"})
    assert isinstance(identify(Model.from_path(path), store), Known)


def test_this_machine_is_told_in_words() -> None:
    found = machine()
    assert found["cores"].isdigit() and found["machine"] and all(found.values())
    names = packages()
    assert names["numpy"] == np.__version__
    environment = Environment()
    assert environment.stamp == Environment().stamp
    facts = environment.facts(("numpy", "no-such-package"))
    assert facts["package numpy"] == np.__version__ and facts["package no-such-package"] == ""


def test_what_a_package_brings_for_itself_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendored, site = tmp_path / "tool" / "_vendor", tmp_path / "site"
    for folder in (vendored, site):
        (folder / f"of_{folder.name}-1.0.dist-info").mkdir(parents=True)
    (vendored.parent / "__init__.py").touch()
    monkeypatch.setattr("sys.path", [str(vendored), str(site)])
    assert packages() == {"of-site": "1.0"}


def test_changes_are_told_in_words() -> None:
    before = {"cores": "2", "package a": "1.0", "package b": "1", "driver nvidia": ""}
    now = {"cores": "2", "package a": "1.1", "package b": "", "driver nvidia": "555"}
    assert changes(before, now) == [
        "driver nvidia 555 is new",
        "a was 1.0 and is 1.1",
        "b 1 is gone",
    ]
    assert not changes(before, before)
