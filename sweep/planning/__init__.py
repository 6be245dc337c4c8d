"""Planning: cells to a DAG of recipes, selection, cost. Imports neither torch nor Ray."""
