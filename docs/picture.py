"""Draw the picture of the README from a report: python docs/picture.py report.json picture.svg"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from hal_conformance.report import read
from hal_conformance.terminal import Terminal
from rich.console import Console


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    out = Console(record=True, width=150, file=io.StringIO(), force_terminal=True, highlight=False)
    Terminal(out, Console(file=io.StringIO())).show(read(source).reports)
    target.write_text(out.export_svg(title="hal conformance"), encoding="utf-8")


if __name__ == "__main__":
    main()
