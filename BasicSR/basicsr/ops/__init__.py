"""Operators: the engine has none of its own; the package exists because third-party code imports it."""
