"""Why defenses should work: information in the layers of a trained target, and the bound of its head."""
