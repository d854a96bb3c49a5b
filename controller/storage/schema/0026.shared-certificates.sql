-- Shared certificates: what web servers present for names directly below a domain (R277, R278). The
-- pair itself is sealed in secret, by the names shared:DOMAIN:chain and shared:DOMAIN:key.
-- depends: 0021.drift

CREATE TABLE shared_certificate (
    domain      text COLLATE "C" PRIMARY KEY,
    names       text[] NOT NULL,                    -- that the certificate is for
    fingerprint text NOT NULL,                      -- SHA-256 of the leaf (DER), hexadecimal
    not_after   timestamptz NOT NULL,
    uploaded_at timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, INSERT, UPDATE, DELETE ON shared_certificate TO hs_runtime;
ALTER TABLE shared_certificate ENABLE ROW LEVEL SECURITY;
ALTER TABLE shared_certificate FORCE ROW LEVEL SECURITY;
CREATE POLICY provider ON shared_certificate USING (hs_provider()) WITH CHECK (hs_provider());
