"""One matrix per file: a function of the same name returns it."""
