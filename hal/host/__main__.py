"""`python -m hal.host --plugin MODULE --backend NAME`: serve a backend on the standard streams."""

from __future__ import annotations

import sys

from hal.host._serve import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
