"""Makes the features that classifiers read of images and regions: conv maps, pooling, R-CNN's crops, views, scaling."""
