"""From images and regions to the features that classifiers read: conv maps, pooling, R-CNN crops, views, scaling."""
