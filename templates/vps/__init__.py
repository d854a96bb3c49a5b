"""The service type ``vps``: virtual private servers."""
