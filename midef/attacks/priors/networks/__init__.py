"""Networks of the priors, one family per file."""
