"""Before anyone pays: what a compiled program needs of a TPU slice, found on a machine that has none."""
