"""Why defenses should work: what the layers of a trained target carry, and what no attack can get past its head."""
