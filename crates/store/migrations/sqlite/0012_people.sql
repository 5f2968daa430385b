-- 395 days, by the clock of the database.
CREATE TRIGGER audit_entries_stay BEFORE UPDATE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'the audit log is not changed');
END;
CREATE TRIGGER audit_entries_are_kept BEFORE DELETE ON audit_entries
WHEN OLD.at_ms > (CAST(strftime('%s', 'now') AS INTEGER) - 34128000) * 1000
BEGIN
    SELECT RAISE(ABORT, 'the audit log is kept for 13 months');
END;
