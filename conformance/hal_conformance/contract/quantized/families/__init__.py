"""Generators of quantised forms, one module a family of operators."""

from __future__ import annotations

from hal_conformance.modules import import_modules

import_modules(__name__, __path__)
