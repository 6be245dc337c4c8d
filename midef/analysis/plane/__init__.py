"""Features in a plane: their principal components, and the convex hulls of groups of them."""
