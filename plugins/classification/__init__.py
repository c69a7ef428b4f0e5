"""What the classifiers share: the multi-head model, the heads' losses and metrics, and their validation."""
