"""What inputs, damage and kills do to midef; `benchmarks/reliability_table.py` makes the table."""
