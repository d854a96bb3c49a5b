"""The API from the client's side: profiles, requests, and the ways in which a call can end.

Small and quick to import: hsctl starts with it, and the local cluster is filled through it.
"""
