"""Colour spaces, differences and angles: pure functions for torch tensors and numpy arrays."""
