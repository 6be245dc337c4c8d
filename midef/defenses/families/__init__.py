"""What several defenses share: erasing, narrow heads, skip connections, private gradients, trapdoors."""
