"""Reads networks in Caffe's formats (its text, its arrays, its graph) and makes networks of ours of them."""
