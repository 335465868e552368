"""Measures how long the methods take; nothing here is part of a result."""
