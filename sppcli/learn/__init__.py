"""Learning from features and labels: SVMs, hard negative mining, ridge regression, training of networks."""
