"""Windows that may hold an object."""
