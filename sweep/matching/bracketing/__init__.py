"""An Optuna sampler that brackets the strength at which a defense has the target accuracy."""
