"""The kinds of fault: each module registers what makes them, by operator."""

from __future__ import annotations

from hal_conformance.modules import import_modules

import_modules(__name__, __path__)
