"""`hal conformance --repro DIR`: a folder a case that shows a result without HAL.

The folder holds the case in ONNX's layout, the same tensors as NumPy files, a README, and a script
a device. Where the plugin declares how its runtime is called (`BackendSpec.repro`) and NumPy has
every type of the case, the script needs that runtime and NumPy alone; otherwise it needs HAL and
the plugin.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hal import BackendSpec, Device, ElementType, Tensor, Value
from hal.errors import OutputError
from hal_conformance.case import Case
from hal_conformance.inspection import Inspection
from hal_conformance.precision import tolerance
from hal_conformance.show import text_of
from hal_conformance.testdata import data_set_folder, write_case

__all__ = ["folder_name", "script_name", "write_repro"]

_RUNTIME = string.Template('''"""$id on $device: $outcome when this was written.

Needs NumPy and the runtime alone. Raises AssertionError where a result is off."""

import pathlib

import numpy as np
$source

here = pathlib.Path(__file__).parent
for data in sorted(here.glob("test_data_set_*")):
    expected = list(np.load(data / "expected.npz").values())
    print("expected", *expected, flush=True)
    inputs = dict(zip($inputs, np.load(data / "inputs.npz").values()))
    got = [np.asarray(output) for output in run(str(here / "model.onnx"), inputs)]
    print("got", *got)
    for want, have in zip(expected, got):
        have = have.astype(str) if want.dtype.kind == "U" else have
        assert (have.dtype, have.shape) == (want.dtype, want.shape), (have.dtype, have.shape)
        $check
print("as expected")
''')

_HAL = string.Template('''"""$id on $device: $outcome when this was written.

Needs HAL and the plugin of the device: $why. Exits 1 where a result is off."""

import pathlib
import sys

from hal.compare import compare
from hal.plugins import load_plugins
from hal_conformance.show import value_text
from hal_conformance.testdata import read_case

model, data_sets = read_case(pathlib.Path(__file__).parent)
wrong = False
with load_plugins() as registry:
    device = registry.find_device("$device")
    with registry.host(device.backend) as host:
        executable = host.compile(device, model, $options)
        for data_set in data_sets:
            got = executable.run(data_set.inputs)
            for name, want in data_set.outputs.items():
                print("expected", name, value_text(want), flush=True)
                print("got", name, value_text(got.get(name)))
                reason = $reason
                wrong = wrong or bool(reason)
                print(f"{name}: {reason or 'as expected'}")
sys.exit(wrong)
''')


def folder_name(case_id: str) -> str:
    """The name of a case's folder: its id in one part."""
    return _flat(case_id)


def script_name(device: Device) -> str:
    """The name of a device's script."""
    return f"repro_{_flat(device.id)}.py"


def write_repro(
    inspections: Sequence[Inspection], specs: Mapping[str, BackendSpec], folder: Path
) -> Path:
    """Write the folder of one case, inspected on one device or several, into `folder`, and return
    it. `specs` by backend. Raises OutputError when it cannot be written."""
    case = inspections[0].case
    into = folder / folder_name(case.id)
    if not isinstance(case, Case):
        raise TypeError(f"{case.id} has no model")
    try:
        write_case(case, into)
        native = all(
            _native(v) for d in case.data_sets for v in (*d.inputs.values(), *d.outputs.values())
        )
        if native:
            for number, data_set in enumerate(case.data_sets):
                place = into / data_set_folder(number)
                np.savez(place / "inputs.npz", *_arrays(data_set.inputs.values()))
                np.savez(place / "expected.npz", *_arrays(data_set.outputs.values()))
        for one in inspections:
            text = _script(case, one, specs[one.device.backend], native)
            (into / script_name(one.device)).write_text(text, encoding="utf-8")
        (into / "README.md").write_text(_readme(case, inspections), encoding="utf-8")
    except OSError as error:
        name = error.filename or into
        raise OutputError(f"cannot write {name}: {error.strerror or error}") from None
    return into


def _script(case: Case, inspection: Inspection, spec: BackendSpec, native: bool) -> str:
    common: dict[str, Any] = {
        "id": case.id,
        "device": inspection.device.id,
        "outcome": inspection.result.outcome.value,
    }
    if spec.repro is None or not native:
        why = (
            f"the backend {spec.name} declares no shorter way"
            if spec.repro is None
            else "the case has values that NumPy has no type for"
        )
        reason = f"compare(want, got[name], {_tolerances(case, inspection.device)})"
        if case.judge == "statistics":
            reason = '""  # random: HAL judges it by statistics'
        options = repr(dict(inspection.options))
        return _HAL.substitute(common, why=why, options=options, reason=reason)
    inputs = list(case.data_sets[0].inputs) if case.data_sets else []
    source = spec.repro(inspection.device).strip()
    return _RUNTIME.substitute(common, source=source, inputs=inputs, check=_check(case))


def _tolerances(case: Case, device: Device) -> str:
    """The keywords that `compare` is given for the output `name`."""
    if not device.precision:
        return f"rtol={case.rtol}, atol={case.atol}"
    limits: dict[str, dict[str, float]] = {}
    for data_set in case.data_sets:
        for name, value in data_set.outputs.items():
            rtol, atol = tolerance(case, device, value)
            known = limits.setdefault(name, {"rtol": rtol, "atol": atol})
            known["atol"] = max(known["atol"], atol)
    return f"**{limits}[name]"


def _check(case: Case) -> str:
    """The statement that raises where `have` is not `want`."""
    if case.judge == "statistics":
        return "pass  # random: HAL judges it by statistics"
    equal = "np.testing.assert_array_equal"
    if case.rtol == case.atol == 0:
        return f"{equal}(have, want)"
    close = f"np.testing.assert_allclose(have, want, rtol={case.rtol}, atol={case.atol})"
    if any(_textual(v) for data_set in case.data_sets for v in data_set.outputs.values()):
        return f'{equal}(have, want) if want.dtype.kind in "Ub" else {close}'
    return close


def _readme(case: Case, inspections: Sequence[Inspection]) -> str:
    runs = "".join(
        f"    python {script_name(one.device)}    # {one.device.id}: {one.result.outcome.value} "
        "when this was written\n"
        for one in inspections
    )
    text = "\n".join(text_of(one) for one in inspections)
    return f"""# {case.id}

{runs}
`model.onnx`, and the tensors of each data set in ONNX's test-data layout (`input_<i>.pb` and
`output_<i>.pb` belong to the model's i-th input and output); the `.npz` files hold the same for
NumPy. What HAL saw:

```
{text}```
"""


def _native(value: Value) -> bool:
    return isinstance(value, Tensor) and value.element_type.is_native


def _textual(value: Value) -> bool:
    return isinstance(value, Tensor) and value.element_type in (
        ElementType.STRING,
        ElementType.BOOL,
    )


def _arrays(values: Iterable[Value]) -> list[Any]:
    arrays = [value.numpy() for value in values if isinstance(value, Tensor)]
    # Text, because arrays of objects are saved as pickles.
    return [a.astype(str) if a.dtype.kind == "O" else a for a in arrays]


def _flat(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "_" for c in text)
