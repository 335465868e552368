"""Selective Search, compiled: graph segmentation, region features, hierarchical grouping."""
