"""Attacks on a model that somebody has: a network, a function or an endpoint. Imports no Ray."""
