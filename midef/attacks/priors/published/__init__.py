"""Generators that others trained and published: their files, their names for tensors, and a safe conversion."""
