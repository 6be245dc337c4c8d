"""How data sets read files: listings, formats, pixels, splits and augmentation."""
