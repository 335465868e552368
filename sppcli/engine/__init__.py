"""Running one function over many images, and saying how it goes."""
