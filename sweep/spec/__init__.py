"""Sweep specification: schema, loading, validation, expansion into cells."""
