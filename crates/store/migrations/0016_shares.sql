-- Service accounts: their names are unique where they belong, not on the whole Weir. What was the name is
-- what is unique, and the name stands beside it.
ALTER TABLE service_accounts RENAME COLUMN name TO unique_name;
ALTER TABLE service_accounts ADD COLUMN name TEXT NOT NULL DEFAULT '';
UPDATE service_accounts SET name = unique_name, unique_name = place || ' ' || unique_name;

-- Invitations: the identity of who made one, because names are not unique.
ALTER TABLE invitations ADD COLUMN created_by_id TEXT;
UPDATE invitations SET created_by_id = (SELECT u.id FROM users u WHERE u.email = invitations.created_by);
CREATE INDEX invitations_by_creator ON invitations (created_by_id);

-- The audit log: what is looked for, in lower case, which databases know only of ASCII. Entries of before
-- are not changed and stay without.
ALTER TABLE audit_entries ADD COLUMN who_folded TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_entries ADD COLUMN text_folded TEXT NOT NULL DEFAULT '';
