"""Families of com.microsoft: onnxruntime's own operators, as exporters and quantisers emit them.

The formulas follow the documentation in onnxruntime's schemas (ContribOperators.md); the second
oracle is a composition of ONNX's operators in its reference evaluator.
"""

from __future__ import annotations

from hal_conformance.modules import import_modules

import_modules(__name__, __path__)
