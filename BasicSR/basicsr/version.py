"""The one place the version is written; setup.py reads it from here and generates nothing."""

__version__ = "2.0.0"
version_info = tuple(int(part) for part in __version__.split("."))
