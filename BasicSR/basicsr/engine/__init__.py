"""What every run needs once: options, plug-ins, checkpoints, distribution, precision, logging."""
