"""BIND 9: master and secondary zones, added, changed and removed over the control channel."""
