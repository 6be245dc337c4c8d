"""Execution of a plan on Ray Tune, and training on Ray Train."""
