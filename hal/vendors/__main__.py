"""Prints the table of docs/vendors.md."""

from hal.vendors import markdown

print(markdown(), end="")
