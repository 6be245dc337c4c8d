"""Bases and plumbing of several priors."""
