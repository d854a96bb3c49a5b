"""Logical servers: groups, settings, and what may be changed of them."""
