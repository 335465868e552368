"""Boxes, suppression, regression targets and the projection of windows onto conv maps: arrays in, arrays out."""
