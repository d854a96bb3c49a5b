"""A whole cluster on one machine: ports, processes, set-up and the banner of ``hsctl local``."""
