-- A draw among many open servers counts them, and finds the few that it takes, from an index.
-- depends: 0021.drift

CREATE INDEX logical_server_open ON logical_server (group_name, name) INCLUDE (id) WHERE signup;
