"""Reads stored rows, draws. Imports `midef.core` and `midef.storage` only: no torch, no Ray."""
