"""Detections and localisation results in the formats of others: readers and writers."""
