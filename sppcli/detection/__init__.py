"""What detectors are trained and run with: the images of a split, networks, models and stored features."""
