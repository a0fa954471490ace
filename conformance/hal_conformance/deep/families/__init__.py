"""How deep cases are made: a module a kind of operator. Each maker registers itself."""
