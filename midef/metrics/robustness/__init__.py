"""Changes of private images that test a target beside privacy: adversarial ones, and corruptions."""
