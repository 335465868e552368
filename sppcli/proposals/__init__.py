"""Region proposals: boxes that may hold an object, whatever its class."""
