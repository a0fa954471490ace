"""How deep cases are made: a module a kind of operator. Each maker registers itself."""

from __future__ import annotations

from hal_conformance.modules import import_modules

import_modules(__name__, __path__)
