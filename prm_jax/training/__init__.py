"""Supervised training: losses, the optimiser, one train step, the loop, checkpoints and metrics."""
