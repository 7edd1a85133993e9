-- Lists of those from whom no payment is taken. Entries are data: they are added and
-- removed by the admin API, and each change is audited.

CREATE TABLE gateway.risk_entries (
    entry_id   uuid PRIMARY KEY,
    list       text NOT NULL CHECK (list ~ '^[a-z][a-z0-9-]{0,31}$'),
    kind       text NOT NULL CHECK (kind IN ('Payer', 'Device', 'Merchant', 'Terminal')),
    -- A keyed hash: nobody's name lies here.
    value_hash bytea NOT NULL CHECK (octet_length(value_hash) = 32),
    note       text CHECK (char_length(note) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (list, kind, value_hash)
);
CREATE INDEX risk_entries_of_list ON gateway.risk_entries (list, entry_id);
-- An entry is never changed.
GRANT SELECT, INSERT, DELETE ON gateway.risk_entries TO gateway;
CREATE TRIGGER noted AFTER INSERT OR DELETE ON gateway.risk_entries FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('risk-entry', 'list');
