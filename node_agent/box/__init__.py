"""A box behind one interface: the real one, and one in memory that the same contract tests pass."""
