"""WindowGenerator: songs become windows, and the n-gram scores the held-out ones."""
