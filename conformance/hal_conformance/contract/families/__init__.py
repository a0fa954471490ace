"""The generators, one module a family of operators. Every module here is imported by `build`."""
