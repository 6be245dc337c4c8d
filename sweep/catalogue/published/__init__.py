"""Published numbers: what four papers print about the defenses and attacks measured here."""
