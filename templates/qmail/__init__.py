"""The service type ``qmail``: mail."""
