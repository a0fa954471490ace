"""A whole backend from a table of operator kernels over any array type.

A plugin supplies kernels and an array adapter; this package supplies the `Backend` of the seam:
graph execution, constant folding, liveness, control flow, sequences, optionals, optional inputs and
outputs, type checks, and the inlining of ONNX function bodies for operators that the table lacks.

How a kernel is written
-----------------------
::

    from hal.kernels import KernelBackend, KernelTable, NodeInfo, NumpyArrays

    table = KernelTable()

    @table.kernel("Softmax", 13)
    def softmax(x, *, axis=-1):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

- `table.kernel(op_type, *versions, domain="", types=None, host=(), host_only=False,
  deterministic=True, attributes=None, output_types=None)`. Versions are exact since_versions: the
  kernel above is asked for opset 13 to the next version of Softmax, and for no other. Name several
  when one function satisfies them all: `@table.kernel("Add", 7, 13, 14)`. Decorators stack. For a
  domain without schemas ("com.microsoft") the greatest row version <= the imported opset is taken.
- Inputs are positional, in the operator's order: an array, or None for an absent optional input; a
  variadic operator takes `*args`. A sequence is a list, an optional its value or None, a map a
  dict, a string tensor a NumPy object array of str. A kernel never writes to its inputs.
- Attributes are keyword-only parameters, with the operator's defaults: int, float, str, a tuple of
  these; a tensor attribute arrives as an array, a type as a TypeInfo, a graph as a function from
  its inputs to a tuple of its outputs. An attribute that the node gives and the kernel does not
  name makes the node unsupported, unless it has the standard's default value. `**attributes` takes
  all. A keyword-only parameter without a default must be given by the node.
- A keyword-only parameter named `node` receives the NodeInfo: name, op_type, domain, version,
  opset, input_types and output_types (ONNX type strings, "" when absent or unknown), outputs (how
  many are wanted), input_shapes (a tuple of int/str/None each, or None), constants, attributes, and
  arrays, the adapter of the compilation, for a kernel that makes an array out of no array.
- It returns one array, or a tuple of them where the operator can have several outputs; more than
  are wanted is all right. An operator with one output returns an array, never a tuple of one.
- `types` says which types the row takes: a set of element names or full type strings for all inputs
  ({"float", "int64", "seq(tensor(float))"}), or a mapping from the schema's type constraints to
  such sets ({"T": {"float"}, "Tind": {"int64"}}). Several rows may have the same operator and
  version: the first that takes the node is used. Without `types` a row takes what the adapter can
  hold.
- `host=(1,)` names inputs, by position, that arrive as NumPy arrays on the host whatever the array
  type is: shapes, axes, pads. Constants get there for nothing.
- `host_only=True`: the kernel computes on the host. All its inputs arrive as NumPy arrays, it
  returns NumPy arrays, and its placement is the host CPU's device id.
- `deterministic=False`: never folded (operators with a seed never are).
- `output_types=lambda node: ("tensor(float)",)` is for operators without a schema; without it their
  outputs have the type that the model declares for them, else the first input's.
- NumPy ufuncs may be registered as they are: `table.kernel("Exp", 6, 13)(np.exp)`.

Work worth doing once, at compile time::

    @table.specialized("Conv", 11, 22, attributes=("group", "pads", "strides", ...))
    def conv(node: NodeInfo):
        weight = node.constants[1]          # an array, or None when it is not constant
        group = node.attributes["group"]    # the standard's defaults are filled in
        def run(x, w, b=None): ...
        return run                          # called with the inputs, as a plain kernel is

`attributes` (or keyword-only parameters, which arrive too) names the attributes it takes. To refuse
a node, a specialized function raises `hal.errors.UnsupportedError(reason)`: the next row is tried,
then the operator's function body; every refusal of a model is reported together, at compile.

Not in a table, because the base does them over any array type: If, Loop, Scan, Identity, Constant,
Shape, Size, the Sequence* operators, ConcatFromSequence, SplitToSequence, Optional*.
A row `Gradient` (ai.onnx.preview.training) is a kernel `(*values, body, count)`: `body` is the part
of the graph that the node names, a function of the values; wanted are the gradients of its one
result by the first `count` values.

The adapter
-----------
Subclass `Arrays` (NumpyArrays is the complete one over NumPy). For a device whose arrays are not in
host memory set `is_host = False`, and give the backend a `host_table` of NumPy kernels: shape
arithmetic that only feeds `host` inputs then runs there, with no device synchronisation, and is
`folded` in the placement.

The backend
-----------
::

    KernelBackend(devices, table, arrays, host_table=None, host_device="host:cpu",
                  evidence=Evidence.SOLE, options=())

`devices` is a sequence of Device or a function that returns one; `arrays` an Arrays or a function
`(device, options) -> Arrays`. A subclass may override `finish(function, device, options)`, which
gets the generated function `f(list_of_arrays) -> tuple_of_arrays` before its first run, for
example to hand it to torch.compile. Executables have `run`, `placement`, `close`, `source`, and
`run_arrays(mapping) -> dict` over the adapter's own arrays.

The BackendSpec of such a backend declares `abilities=KernelBackend.abilities`.
"""

from __future__ import annotations

from hal.graph import TypeInfo
from hal.kernels._arrays import Arrays
from hal.kernels._backend import KernelBackend, KernelExecutable
from hal.kernels._numpy import NumpyArrays
from hal.kernels._precision import PrecisionPolicy
from hal.kernels._table import KernelTable, NodeInfo, Row

__all__ = [
    "Arrays",
    "KernelBackend",
    "KernelExecutable",
    "KernelTable",
    "NodeInfo",
    "NumpyArrays",
    "PrecisionPolicy",
    "Row",
    "TypeInfo",
]
