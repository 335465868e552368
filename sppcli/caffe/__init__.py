"""Networks in the formats of Caffe: its text, its arrays, its graph, and the network of ours that they describe."""
