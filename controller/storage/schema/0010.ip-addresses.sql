-- Every type of address, and which site has a dedicated one.
-- depends: 0001.first-light

ALTER TABLE ip_address DROP CONSTRAINT ip_address_type_check;
ALTER TABLE ip_address ADD CONSTRAINT ip_address_type_check CHECK (
    type IN ('shared', 'dedicated', 'service', 'dns-reseller', 'outgoing', 'bouncing'));

-- A dedicated address belongs to one site, and a site has one (R329).
ALTER TABLE ip_address ADD COLUMN site_id bigint REFERENCES site ON DELETE SET NULL;
ALTER TABLE ip_address ADD CONSTRAINT ip_address_site_dedicated
    CHECK (site_id IS NULL OR type = 'dedicated');
CREATE UNIQUE INDEX ip_address_one_site ON ip_address (site_id) WHERE site_id IS NOT NULL;

CREATE UNIQUE INDEX ip_address_one_outgoing ON ip_address (logical_server_id)
    WHERE type = 'outgoing';                                                          -- R347
CREATE UNIQUE INDEX ip_address_one_bouncing ON ip_address (logical_server_id)
    WHERE type = 'bouncing';                                                          -- R350

-- A page of a server's addresses, and its next free one, whatever their number.
CREATE INDEX ip_address_page ON ip_address (logical_server_id, id);
DROP INDEX ip_address_server;
CREATE INDEX ip_address_free ON ip_address (logical_server_id, id)
    WHERE type = 'dedicated' AND site_id IS NULL;
CREATE INDEX ip_address_listening ON ip_address (logical_server_id) WHERE type <> 'dedicated';
