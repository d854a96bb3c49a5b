"""The model of the cluster as a file: exported, planned, imported."""
