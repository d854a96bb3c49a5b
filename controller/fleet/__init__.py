"""The agents' listener, their sessions, liveness and dispatch."""
