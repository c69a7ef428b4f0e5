"""Colour-faithful photo enhancement: losses, the multi-loss model, paired data, metrics, reports."""
