"""`hal route --split`: the plan as a table, as JSON and as a picture; compilers that refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from split_models import DEVICES, FEEDS, LAME, only, proto, two_devices

import hal
from hal.cli import main
from hal.errors import UnsupportedError
from hal.plugins import Registry, load_plugins
from hal.routing import route
from hal.routing._identity import identify
from hal.split import open_split, to_svg
from hal.split._plan import make_plan, survey
from hal.split._source import Source
from hal.store import Store


@pytest.fixture
def registry(site: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    only(site, monkeypatch, "lame", LAME)
    with load_plugins() as found:
        yield found


def test_plan_on_the_command_line(registry, tmp_path, capsys):
    path = tmp_path / "m.onnx"
    onnx.save(two_devices(), path)
    devices = [word for name in DEVICES for word in ("--device", name)]
    svg, dot = tmp_path / "plan.svg", tmp_path / "plan.dot"
    drawn = ["--svg", str(svg), "--dot", str(dot)]
    assert main(["route", str(path), *devices]) == 6
    assert "takes this model whole" in capsys.readouterr().err
    assert main(["route", str(path), "--split", *devices, *drawn]) == 0
    shown = capsys.readouterr().out
    assert "split into 3 parts, none of the devices taking it whole" in shown
    picture = ElementTree.parse(svg).getroot()
    texts = ["".join(e.itertext()) for e in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Mul", "Tanh", "Sub", "lame:npu", "example:cpu", "part 3"} <= set(texts)
    colours = {e.get("fill") for e in picture.iter("{http://www.w3.org/2000/svg}rect")}
    assert len(colours) == 3, "white, and one for each device"
    assert dot.read_text().count("subgraph cluster_") == 3 and "->" in dot.read_text()
    assert main(["route", str(path), "--split", *devices, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [part["device"] for part in document["parts"]] == [*DEVICES, DEVICES[0]]
    assert list(document["missing"]["example:cpu"]) == ["squash"]
    assert main(["route", str(path), "--svg", str(svg)]) == 2
    capsys.readouterr()
    assert main(["route", str(path), "--split", "--svg", str(tmp_path / "no" / "x.svg")]) == 4


def test_large_plans_are_drawn_by_part(registry):
    nodes = [
        helper.make_node("Neg" if i // 40 % 2 else "Tanh", [f"v{i}"], [f"v{i + 1}"])
        for i in range(160)
    ]
    nodes.insert(0, helper.make_node("Identity", ["x"], ["v0"]))
    values = [f"v{i}" for i in range(160)]
    model = proto(nodes, ["v160"], values=values)
    source = Source(hal.Model(model.SerializeToString()))
    found = make_plan(
        source, survey(registry, source, [registry.find_device(d) for d in DEVICES]), {}
    )
    assert len(found.parts) == 4
    svg = to_svg(found)
    assert "40 Tanh" in svg and svg.count("<g>") == 4


PROMISES = '''
"""An accelerator whose compiler refuses what its backend takes."""
import numpy as np
import hal
from hal.backend import Support
from hal.errors import UnsupportedError
from hal.graph import read_model
from hal.kernels import KernelBackend, KernelTable, NumpyArrays

table = KernelTable()
table.kernel("Tanh", 6, 13)(np.tanh)
table.kernel("Mul", 7, 13, 14)(np.multiply)

class Backend(KernelBackend):
    def supports(self, device, model):
        return Support()

    def compile(self, device, model, options):
        lacks = {n.op_type for n in read_model(model).graph.nodes} - {"Tanh", "Mul"}
        if lacks:
            raise UnsupportedError(f"does not lower {sorted(lacks)[0]}")
        return super().compile(device, model, options)

@hal.hookimpl
def hal_backends():
    device = hal.Device("eager:npu", "npu")
    backend = Backend([device], table, NumpyArrays())
    yield hal.BackendSpec("eager", lambda: backend, abilities=backend.abilities)
'''


def test_a_compiler_that_refuses_what_its_backend_takes(site, monkeypatch):
    only(site, monkeypatch, "eager", PROMISES, "reference")
    model = two_devices()
    model.graph.node.append(helper.make_node("Relu", ["c"], ["d"], "clip"))
    model.graph.output[0].name = "d"
    del model.graph.output[2]
    refusal = r"eager:npu lacks 'clip' \(does not lower Relu\)"
    with pytest.raises(UnsupportedError, match=refusal) as caught:
        route(model, devices=("example:cpu", "eager:npu"))
    with Store() as store:
        engine = open_split(identify(model, store), caught.value)
    assert [p.nodes for p in engine.plan.parts] == [("scale", "squash"), ("shift", "clip")]
    expected = ReferenceEvaluator(model).run(None, FEEDS)
    for got, wanted in zip(engine.run(None, FEEDS), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    engine.close()
