"""What several priors share."""
