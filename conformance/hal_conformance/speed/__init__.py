"""How fast: operators timed on the shapes that real models give them, and how often these use them.

`mine` makes the data anew, `usage` reads it.
"""
