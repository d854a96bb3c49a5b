-- The last change to the provider's side of the model: while it is the same, health need not be
-- judged again.
-- depends: 0001.first-light

CREATE INDEX change_row_model ON change_row (change_id)
    WHERE relation IN ('box', 'logical_server', 'lane', 'ip_address');
