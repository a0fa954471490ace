"""Right backends made wrong on purpose: the reference evaluator, with one fault per operator.

Every operator that is not in FAULTS is computed rightly, so that a test can see that one fault
costs one case. Device lists can be made to fail as well, by the environment variable
HAL_FAULTY_DEVICES.
"""

import ctypes
import os
import sys
import time

import numpy as np

from hal import BackendSpec, Device, Tensor, hookimpl


class StubbornError(Exception):
    """An exception that cannot be turned into text, and holds what no protocol can carry."""

    def __init__(self):
        super().__init__(lambda: None)

    def __str__(self):
        raise RuntimeError("no text for you")

    __repr__ = __str__


def segfault(outputs):
    ctypes.string_at(0)


def abort(outputs):
    os.abort()


def endless_loop(outputs):
    while True:
        pass


def endless_allocation(outputs):
    hoard = []
    while True:
        hoard.append(np.ones(4 << 20))
        time.sleep(0.005)


def leave(outputs):
    os._exit(0)


def stubborn(outputs):
    raise StubbornError


def change(function):
    def fault(outputs):
        return {
            name: Tensor.from_numpy(function(value.numpy().copy()))
            for name, value in outputs.items()
        }

    return fault


def garbage_on_stdout(outputs):
    print("EP Error: garbage", flush=True)
    os.write(1, b"\x00\xff" * 5000)
    sys.__stdout__.write("more garbage")
    return outputs


def nan_inside(array):
    array.reshape(-1)[-1] = np.nan
    return array


FAULTS = {
    "Abs": segfault,
    "Acos": abort,
    "Acosh": endless_loop,
    "Asin": endless_allocation,
    "Asinh": leave,
    "Atan": stubborn,
    "Atanh": change(lambda a: a.astype(np.float64)),
    "Ceil": change(lambda a: a.reshape(-1)),
    "Cos": change(nan_inside),
    "Cosh": garbage_on_stdout,
    "Erf": change(lambda a: a + np.float32(0.01)),
}


class Executable:
    def __init__(self, inner, fault):
        self.inner, self.fault = inner, fault

    def run(self, inputs):
        outputs = self.inner.run(inputs)
        return self.fault(outputs) if self.fault else outputs


class Backend:
    def __init__(self):
        import hal_reference

        (spec,) = hal_reference.hal_backends()
        self.inner = spec.factory()

    def devices(self):
        how = os.environ.get("HAL_FAULTY_DEVICES", "")
        if how == "hang":
            time.sleep(3600)
        if how == "crash":
            ctypes.string_at(0)
        return [Device("faulty:cpu", "cpu")]

    def _inner_device(self):
        (device,) = self.inner.devices()
        return device

    def supports(self, device, model):
        return self.inner.supports(self._inner_device(), model)

    def compile(self, device, model, options):
        import onnx

        nodes = onnx.load_from_string(model.data).graph.node
        fault = next((FAULTS[n.op_type] for n in nodes if n.op_type in FAULTS), None)
        return Executable(self.inner.compile(self._inner_device(), model, options), fault)


@hookimpl
def hal_backends():
    return [BackendSpec("faulty", Backend, "wrong on purpose")]
