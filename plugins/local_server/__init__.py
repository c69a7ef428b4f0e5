"""What the local servers of the plug-ins share; it needs nothing but Python, so that it runs on a Raspberry Pi."""
