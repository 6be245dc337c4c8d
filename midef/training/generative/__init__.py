"""Training of priors: one loop, and the steps of each network."""
