"""Scores of detections and classifications. Mathematics on arrays: no data set formats, no deep learning."""
