-- Which books this database holds. The row is written by `payplane migrate`,
-- once, after the schema stands: from then on the books exist.

CREATE TABLE payplane.control (
    singleton         boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    books_id          uuid NOT NULL,
    -- One tenant's: two of them in one database would be each other's merchants.
    tenant            text NOT NULL,
    environment       text NOT NULL CHECK (environment IN ('Live', 'Test')),
    currencies        text[] NOT NULL CHECK (cardinality(currencies) > 0),
    time_zone         text NOT NULL,
    -- A successor of the tenant may not have less.
    instances_min     integer NOT NULL CHECK (instances_min > 0),
    storage_bytes_min bigint NOT NULL CHECK (storage_bytes_min > 0),
    created_at        timestamptz NOT NULL DEFAULT now()
);

-- What was added to the control row, and when.
CREATE TABLE payplane.control_changes (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    field      text NOT NULL,
    old_value  text NOT NULL,
    new_value  text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION payplane.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- Tables that cannot be emptied at once; those whose rows stay; those whose rows are only added.
CREATE FUNCTION payplane.guard(p_trigger text, p_when text, p_each text, p_tables regclass[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE name regclass;
BEGIN
    FOREACH name IN ARRAY p_tables LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE %s ON %s FOR EACH %s EXECUTE FUNCTION payplane.refuse_change()',
            p_trigger, p_when, name, p_each);
    END LOOP;
END $$;
CREATE FUNCTION payplane.no_truncate(VARIADIC p_tables regclass[]) RETURNS void LANGUAGE sql AS $$
    SELECT payplane.guard('no_truncate', 'TRUNCATE', 'STATEMENT', p_tables);
$$;
CREATE FUNCTION payplane.no_delete(VARIADIC p_tables regclass[]) RETURNS void LANGUAGE sql AS $$
    SELECT payplane.guard('no_delete', 'DELETE', 'STATEMENT', p_tables);
    SELECT payplane.no_truncate(VARIADIC p_tables);
$$;
CREATE FUNCTION payplane.append_only(VARIADIC p_tables regclass[]) RETURNS void LANGUAGE sql AS $$
    SELECT payplane.guard('append_only', 'UPDATE OR DELETE', 'ROW', p_tables);
    SELECT payplane.no_truncate(VARIADIC p_tables);
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payplane.control_changes
    FOR EACH STATEMENT EXECUTE FUNCTION payplane.refuse_change();
CREATE TRIGGER keeps BEFORE DELETE OR TRUNCATE ON payplane.control
    FOR EACH STATEMENT EXECUTE FUNCTION payplane.refuse_change();

-- The books id, the tenant, the environment and the day they began never change.
CREATE FUNCTION payplane.control_stays() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.books_id, NEW.tenant, NEW.environment, NEW.time_zone, NEW.created_at)
        IS DISTINCT FROM (OLD.books_id, OLD.tenant, OLD.environment, OLD.time_zone, OLD.created_at)
        OR NOT NEW.currencies @> OLD.currencies
        OR NEW.instances_min < OLD.instances_min OR NEW.storage_bytes_min < OLD.storage_bytes_min THEN
        RAISE EXCEPTION 'the control row only grows' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_grows BEFORE UPDATE ON payplane.control
    FOR EACH ROW EXECUTE FUNCTION payplane.control_stays();

-- Nobody has rights here that were not given by name.
REVOKE ALL ON SCHEMA payplane FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA payplane FROM PUBLIC;
GRANT USAGE ON SCHEMA payplane TO ledger, gateway;
GRANT SELECT ON payplane.control, payplane.schema_history TO ledger, gateway;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

DO $$
BEGIN
    IF (SELECT pg_catalog.pg_has_role(datdba, 'USAGE') FROM pg_catalog.pg_database
        WHERE datname = pg_catalog.current_database()) THEN
        EXECUTE pg_catalog.format('REVOKE ALL ON DATABASE %I FROM PUBLIC', pg_catalog.current_database());
        EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO ledger, gateway', pg_catalog.current_database());
    END IF;
    -- PUBLIC may create here up to PostgreSQL 14, and owns nothing we need.
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace
               WHERE nspname = 'public' AND pg_catalog.pg_has_role(nspowner, 'USAGE')) THEN
        EXECUTE 'REVOKE ALL ON SCHEMA public FROM PUBLIC';
    END IF;
END $$;
