"""HAL's own cases: generated from the contract, judged against oracles in higher precision.

`families` has one module a family of operators; each registers generators, which yield drafts
(`draft`). `oracles` gives what is expected, `tolerance` how near a result must come, `build` makes
cases of drafts, `suite` caches them. See docs/contract-suite.md.
"""
