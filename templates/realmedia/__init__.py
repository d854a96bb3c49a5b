"""The service type ``realmedia``: streaming media."""
