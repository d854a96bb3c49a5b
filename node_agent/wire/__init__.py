"""What agent and controller say to each other: messages, codec, framing, versions.

Both sides import this package; it imports none of the others.
"""
