"""The training loop of classifiers: targets and evaluators, under every defense."""
