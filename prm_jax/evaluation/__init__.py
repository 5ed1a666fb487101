"""How good a policy and a process reward model are: pass@k, areas under the curve, and their intervals."""
