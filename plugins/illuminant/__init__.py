"""Illuminant estimation: IlluminantCNN, k-means classes of light, LSMI masks, heat maps and white balance."""
