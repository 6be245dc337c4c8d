"""Procedural faces: ranges of their parameters, the drawing, and both as a differentiable image formation."""
