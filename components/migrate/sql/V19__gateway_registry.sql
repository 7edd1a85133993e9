-- The registry: which app may pay to which merchant at which terminal, in which state
-- each of them is, and who changed what. docs/gateway.md has the rules.

-- Whoever reads these tables for long does not keep payments waiting behind us.
SET LOCAL lock_timeout = '5s';

ALTER TABLE gateway.merchants
    -- The default is for merchants that were there before, and for the release before this one.
    ADD COLUMN status text NOT NULL DEFAULT 'Active'
        CHECK (status IN ('Applied', 'Active', 'Suspended', 'Closed')),
    -- Who wrote the application last, and who approved it.
    ADD COLUMN applied_by  text,
    ADD COLUMN approved_by text,
    -- GB 32100, and where the merchant's money goes: two of a terminal's five elements.
    ADD COLUMN unified_social_credit_code text
        CHECK (unified_social_credit_code ~ '^[0-9A-HJ-NP-RTUW-Y]{18}$'),
    ADD COLUMN settlement_account text CHECK (settlement_account ~ '^[A-Za-z0-9._-]{1,64}$'),
    ADD CONSTRAINT approved_by_another CHECK (approved_by <> applied_by),
    ADD CONSTRAINT applied_is_approved CHECK
        (applied_by IS NULL OR approved_by IS NOT NULL OR status IN ('Applied', 'Closed'));
ALTER TABLE gateway.apps
    ADD COLUMN status text NOT NULL DEFAULT 'Active' CHECK (status IN ('Active', 'Suspended', 'Closed'));
ALTER TABLE gateway.orders ADD COLUMN terminal_id text;

-- An app may pay to these merchants; '*' is every merchant, which no merchant is named.
CREATE TABLE gateway.app_merchants (
    app_id      text NOT NULL REFERENCES gateway.apps,
    merchant_id text NOT NULL,
    PRIMARY KEY (app_id, merchant_id)
);
GRANT SELECT, INSERT, DELETE ON gateway.app_merchants TO gateway;
-- Apps that are there go on as before, until somebody narrows them.
INSERT INTO gateway.app_merchants SELECT app_id, '*' FROM gateway.apps;

CREATE TABLE gateway.terminals (
    terminal_id   text PRIMARY KEY,
    merchant_id   text NOT NULL REFERENCES gateway.merchants,
    serial_number text NOT NULL,
    acquirer_code text NOT NULL,
    location      text NOT NULL CHECK (char_length(location) BETWEEN 1 AND 128),
    status        text NOT NULL DEFAULT 'Active' CHECK (status IN ('Active', 'Suspended', 'Closed')),
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX terminals_serial ON gateway.terminals (serial_number) WHERE status <> 'Closed';
-- A terminal stays its merchant's.
GRANT SELECT, INSERT, UPDATE (serial_number, acquirer_code, location, status) ON gateway.terminals TO gateway;

CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.merchants FOR EACH ROW
    WHEN (OLD.status = 'Closed' AND NEW.status <> 'Closed') EXECUTE FUNCTION gateway.final_stays();
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.apps FOR EACH ROW
    WHEN (OLD.status = 'Closed' AND NEW.status <> 'Closed') EXECUTE FUNCTION gateway.final_stays();
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.terminals FOR EACH ROW
    WHEN (OLD.status = 'Closed' AND NEW.status <> 'Closed') EXECUTE FUNCTION gateway.final_stays();

-- The locks: shared for who creates orders, alone for who changes the registry. Of each kind
-- there are 64, so that no batch of orders takes more; they are the two-key form, which the
-- ledger does not use.
CREATE FUNCTION gateway.registry_lock(p_kind text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_kind WHEN 'app' THEN 781357601 WHEN 'merchant' THEN 781357602 WHEN 'terminal' THEN 781357603 END;
$$;
CREATE FUNCTION gateway.registry_slot(p_id text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtext(p_id) & 63;
$$;

-- Holds what an order is about until its transaction ends, in one order for everybody. What
-- it decides on is read in a later statement, hence from a later snapshot.
CREATE FUNCTION gateway.hold(p_apps text[], p_merchants text[], p_terminals text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'orders are created in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(sorted.family, sorted.slot) FROM (
        SELECT DISTINCT gateway.registry_lock(held.kind) AS family, gateway.registry_slot(held.id) AS slot FROM (
            SELECT 'app' AS kind, id FROM unnest(p_apps) AS id
            UNION ALL SELECT 'merchant', id FROM unnest(p_merchants) AS id
            UNION ALL SELECT 'terminal', id FROM unnest(p_terminals) AS id) AS held
        WHERE held.id IS NOT NULL
        ORDER BY family, slot) AS sorted;
END $$;

-- Begins a change of the registry in somebody's name. Who holds what is changed has committed
-- before, and who comes later reads the change.
CREATE FUNCTION gateway.begin_change(p_subject text, p_kind text, p_id text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- For the statements after this one, too: whoever waits there waits with the lock.
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM set_config('payplane.subject', p_subject, true);
    PERFORM pg_advisory_xact_lock(gateway.registry_lock(p_kind), gateway.registry_slot(p_id));
END $$;

GRANT EXECUTE ON FUNCTION gateway.registry_lock(text), gateway.registry_slot(text),
    gateway.hold(text[], text[], text[]), gateway.begin_change(text, text, text) TO gateway;

-- Who changed what. It is written by triggers alone, so no change can be left out.
CREATE TABLE gateway.registry_audit (
    audit_number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The common name of the certificate; of who does without the gateway, the database role.
    subject      text NOT NULL,
    action       text NOT NULL CHECK (action IN ('Insert', 'Update', 'Delete')),
    kind         text NOT NULL,
    object_id    text NOT NULL,
    before       jsonb,
    after        jsonb
);
GRANT SELECT ON gateway.registry_audit TO gateway;

CREATE FUNCTION gateway.audit_stays() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'gateway.registry_audit is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON gateway.registry_audit
    FOR EACH STATEMENT EXECUTE FUNCTION gateway.audit_stays();

CREATE FUNCTION gateway.key_as_noted(p_key jsonb) RETURNS jsonb LANGUAGE sql STRICT
SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('app_id', p_key -> 'app_id', 'key_id', p_key -> 'key_id',
        'public_key_sha256', encode(sha256(decode(substr(p_key ->> 'public_key', 3), 'hex')), 'hex'));
$$;

-- As the owner: the gateway itself cannot write a line of it.
CREATE FUNCTION gateway.note_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    becomes jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
    -- A key is named by its digest: nothing that is secret comes in here.
    IF TG_ARGV[0] = 'key' THEN
        was := gateway.key_as_noted(was);
        becomes := gateway.key_as_noted(becomes);
    END IF;
    INSERT INTO gateway.registry_audit (subject, action, kind, object_id, before, after)
    VALUES (coalesce(nullif(current_setting('payplane.subject', true), ''), 'database:' || session_user),
        initcap(TG_OP), TG_ARGV[0], coalesce(becomes, was) ->> TG_ARGV[1], was, becomes);
    RETURN NULL;
END $$;

CREATE TRIGGER noted AFTER INSERT ON gateway.merchants FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('merchant', 'merchant_id');
CREATE TRIGGER change_noted AFTER UPDATE ON gateway.merchants FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION gateway.note_change('merchant', 'merchant_id');
CREATE TRIGGER noted AFTER INSERT ON gateway.apps FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('app', 'app_id');
CREATE TRIGGER change_noted AFTER UPDATE ON gateway.apps FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION gateway.note_change('app', 'app_id');
CREATE TRIGGER noted AFTER INSERT OR DELETE ON gateway.app_keys FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('key', 'app_id');
CREATE TRIGGER change_noted AFTER UPDATE ON gateway.app_keys FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION gateway.note_change('key', 'app_id');
CREATE TRIGGER noted AFTER INSERT OR DELETE ON gateway.endpoints FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('endpoint', 'app_id');
-- How an endpoint fares changes all the time.
CREATE TRIGGER change_noted AFTER UPDATE OF url, ca_pem ON gateway.endpoints FOR EACH ROW
    WHEN ((OLD.url, OLD.ca_pem) IS DISTINCT FROM (NEW.url, NEW.ca_pem))
    EXECUTE FUNCTION gateway.note_change('endpoint', 'app_id');
CREATE TRIGGER noted AFTER INSERT OR DELETE ON gateway.app_merchants FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('binding', 'app_id');
CREATE TRIGGER noted AFTER INSERT ON gateway.terminals FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('terminal', 'terminal_id');
CREATE TRIGGER change_noted AFTER UPDATE ON gateway.terminals FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION gateway.note_change('terminal', 'terminal_id');
