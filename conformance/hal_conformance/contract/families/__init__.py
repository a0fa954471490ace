"""The generators, one module a family of operators. An operator's other cases follow from the
drafts of all of them, in the order in which they are imported."""

from __future__ import annotations

from hal_conformance.modules import import_modules

import_modules(__name__, __path__)
