-- 395 days, by the clock of the database.
CREATE OR REPLACE FUNCTION weir_audit_entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.at_ms <= (EXTRACT(EPOCH FROM now()) - 34128000) * 1000 THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'the audit log is kept for 13 months';
    END IF;
    RAISE EXCEPTION 'the audit log is not changed';
END;
$$;
CREATE TRIGGER audit_entries_stay BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION weir_audit_entries_stay();
CREATE TRIGGER audit_entries_are_not_emptied BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION weir_audit_entries_stay();
