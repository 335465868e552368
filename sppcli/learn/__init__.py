"""What is learnt from features and labels: SVMs, hard negative mining, ridge regression, networks."""
