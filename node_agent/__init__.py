"""The agent: one long-running process on each physical server of the cluster."""
