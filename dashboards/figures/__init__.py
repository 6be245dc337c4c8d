"""Figures: each a function that summarises rows and one that draws."""
