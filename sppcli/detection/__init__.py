"""What detectors are trained on and run with: the images of a split, their networks, models and stored features."""
