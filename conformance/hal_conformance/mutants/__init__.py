"""The suites, tested: correct kernels made wrong on purpose, and which suite notices.

`call` is one node with its data, `engine` a correct backend that runs it, `faults` one module a
kind of wrong kernels, `mutant` puts a fault into the engine, `selftest` counts what is caught. See
docs/contract-suite.md.
"""
