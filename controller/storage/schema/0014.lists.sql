-- Lists that are narrowed down, whatever their length: a page is found and not searched for.
-- depends: 0010.ip-addresses

CREATE INDEX ip_address_type ON ip_address (type, id);
CREATE INDEX ip_address_all_free ON ip_address (id) WHERE type = 'dedicated' AND site_id IS NULL;
CREATE INDEX change_actor ON change (actor, id);
CREATE INDEX change_command ON change (command, id);
CREATE INDEX change_at ON change (at);
-- Zones of a server are counted from the index alone; row security asks for the owner.
CREATE INDEX zone_server_count ON zone_server (logical_server_id, role) INCLUDE (owner_id);
DROP INDEX zone_server_server;

-- An account is deleted only when no zone and no site is its own: each is looked up by its owner.
CREATE INDEX zone_owner ON zone (owner_id);
CREATE INDEX site_owner ON site (owner_id);
