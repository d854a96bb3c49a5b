"""The service type ``mysql``: databases of customers."""
