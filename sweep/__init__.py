"""Which cells, in what order, on which machines. The only package that imports Ray, and only where it runs."""
