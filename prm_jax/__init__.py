"""Process-supervised reinforcement learning for code, in pure JAX."""

__version__ = "0.1.0"
