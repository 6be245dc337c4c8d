"""Accuracy matching: brings every defense of a sweep to the same accuracy."""
