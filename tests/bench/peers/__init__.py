"""`script/bench-peers`: the same two jobs done by Salt, by Ansible and by the product, in one run.

The jobs are a no-op told to N agents on loopback, and one zone's change on a name server of many
zones, rendered from a template and reloaded, until it is served. Each peer is used as its own
documentation advises for speed, and `Peer.words` says exactly how.
"""
