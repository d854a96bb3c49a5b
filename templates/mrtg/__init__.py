"""The service type ``mrtg``: traffic graphs."""
