-- When a token was last seen, to within an hour: one that nobody uses can be revoked.
ALTER TABLE api_token ADD COLUMN used_at timestamptz;

-- It was never written: what is wrong with a move is said by its parts.
ALTER TABLE address_move DROP COLUMN message;
