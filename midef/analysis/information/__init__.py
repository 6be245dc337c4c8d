"""Fisher information of the units of a network, and the losses that it is taken of."""
