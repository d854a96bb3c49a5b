"""The interpreters of effects: files, programs, the control channel, probes."""
