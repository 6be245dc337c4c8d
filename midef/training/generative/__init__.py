"""Training of generative priors and of the networks attackers teach."""
