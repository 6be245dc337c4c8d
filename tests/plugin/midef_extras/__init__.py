"""One component of each kind, each one file. `docs/add_a_method.md` shows them."""
