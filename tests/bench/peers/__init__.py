"""`script/bench-peers`: the same jobs done by Salt, by Ansible and by the product, in one run.

A no-op is told to N agents on loopback. One zone is changed on a name server of many zones,
rendered from a template and reloaded, until it is served: with a state of that zone alone, and with
one of all zones, written in the plain way. Then clients change zones side by side. Elsewhere each
peer is used as its own documentation advises for speed; `Peer.words` says exactly how.
"""
