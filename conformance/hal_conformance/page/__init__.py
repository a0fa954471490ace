"""The HTML page of reports: one file, nothing from the network."""

from __future__ import annotations

from hal_conformance.page.render import render_page, write_page

__all__ = ["render_page", "write_page"]
