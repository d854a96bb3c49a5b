"""HTTP: the REST API generated from the command registry, its events, and the panel's site.

May import `controller.commands`, `controller.storage` and `pki`. Nothing here decides what a
command does; it decides who may ask, reads the request and tells the answer.
"""
