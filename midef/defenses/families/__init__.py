"""Shared parts of defenses: erasing, narrow heads, skip connections, private gradients, trapdoors."""
