-- What a merchant pays and may take: proposed by one person, approved by another, in force
-- from a day on. docs/gateway.md has the rules.

CREATE TABLE gateway.merchant_terms (
    merchant_id text NOT NULL REFERENCES gateway.merchants,
    version     integer NOT NULL CHECK (version >= 1),
    -- In the tenant's calendar.
    since       date NOT NULL,
    -- Fees and limits, as the admin API has them.
    terms       jsonb NOT NULL CHECK (jsonb_typeof(terms -> 'fees') = 'array'
                AND jsonb_typeof(terms -> 'limits') = 'array' AND pg_column_size(terms) <= 16384),
    status      text NOT NULL DEFAULT 'Proposed' CHECK (status IN ('Proposed', 'Approved', 'Rejected', 'Withdrawn')),
    proposed_by text NOT NULL,
    proposed_at timestamptz NOT NULL DEFAULT now(),
    ended_by    text,
    ended_at    timestamptz,
    PRIMARY KEY (merchant_id, version),
    CONSTRAINT by_another CHECK (status NOT IN ('Approved', 'Rejected') OR ended_by <> proposed_by),
    CONSTRAINT withdrawn_by_maker CHECK (status <> 'Withdrawn' OR ended_by = proposed_by),
    CONSTRAINT end_says_who CHECK ((status = 'Proposed') = (ended_by IS NULL)
        AND (ended_by IS NULL) = (ended_at IS NULL))
);
CREATE UNIQUE INDEX merchant_terms_one_open ON gateway.merchant_terms (merchant_id) WHERE status = 'Proposed';
-- Every new order looks here.
CREATE INDEX merchant_terms_in_force ON gateway.merchant_terms (merchant_id, since, version) WHERE status = 'Approved';
-- Whatever is written begins as a proposal, and is judged as it was written.
GRANT SELECT, INSERT (merchant_id, version, since, terms, proposed_by), UPDATE (status, ended_by, ended_at)
    ON gateway.merchant_terms TO gateway;
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.merchant_terms FOR EACH ROW
    WHEN (OLD.status <> 'Proposed') EXECUTE FUNCTION gateway.final_stays();
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON gateway.merchant_terms FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('terms', 'merchant_id');
