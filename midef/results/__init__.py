"""From result rows to the numbers a person reads. Imports neither torch nor Ray."""
