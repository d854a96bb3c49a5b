"""IP addresses of logical servers: ranges, types, and who has each."""
