"""The controller: the brain of the cluster, on the control panel server."""
