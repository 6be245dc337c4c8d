"""Names of taps, beside the names of blocks. Loads no torch."""

CODE = "code"
"""The tap that shows what a `CodeHead` computes on the way to the logits."""
