"""The service type ``postgresql``: databases of customers."""
