"""Plug-ins of the engine; each sub-package can be deleted and the rest still runs."""
