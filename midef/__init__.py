"""midef measures model-inversion defenses: train under a defense, attack, score utility and privacy."""

__version__ = "0.1.0"
