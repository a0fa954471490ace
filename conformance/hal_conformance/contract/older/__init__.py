"""Older versions of operators whose meaning differs from that of the newest.

`table` says which, and why; `rows` has the cases.
"""
