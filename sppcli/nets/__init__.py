"""Networks: the pyramid layer, trunks with the geometry that follows from their layers, heads, weights."""
