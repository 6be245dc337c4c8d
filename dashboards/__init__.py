"""Static page of stored results. Of midef it imports `core`, `storage` and `results` only: no torch, no Ray."""
