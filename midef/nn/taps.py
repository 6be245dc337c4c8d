"""Names of what a network shows of its insides, beside the names of its blocks. Loads no torch."""

CODE = "code"
"""The tap that shows what a `CodeHead` computes on the way to the logits."""
