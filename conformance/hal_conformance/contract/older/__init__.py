"""Older versions of operators whose meaning differs from that of the newest.

`table` says which, and why; the cases are in the other modules.
"""

from __future__ import annotations

from hal_conformance.modules import import_modules

import_modules(__name__, __path__)
