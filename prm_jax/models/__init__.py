"""The network: one decoder of the Llama family, scalar heads, and plain functions over their parameters."""
