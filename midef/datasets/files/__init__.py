"""File access of datasets: listings, formats, pixels, splits and augmentation."""
