-- Money: so that what was allowed, granted and used is written down before anything is spent,
-- can be replayed from the beginning, and can be asked for hour by hour.
--
-- The journal is the truth; everything else about money follows from it. Its rows are never
-- changed or removed. `hash` is the SHA-256 of `previous_hash`, the sequence and the body (which
-- has the instant in it), with a line break between, so that a change anywhere shows at the end.

CREATE TABLE accounts (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT accounts_primary PRIMARY KEY (id),
    CONSTRAINT accounts_name_unique UNIQUE (name)
);
INSERT INTO accounts (id, name, created_ms) VALUES ('acc_00000000000000000000000000', 'default', 0);

-- Never empty, although it could be: SQLite adds no column that is both a foreign key and
-- NOT NULL.
ALTER TABLE projects ADD COLUMN account_id TEXT CONSTRAINT projects_account REFERENCES accounts (id);
UPDATE projects SET account_id = 'acc_00000000000000000000000000';
CREATE INDEX projects_by_account ON projects (account_id);

CREATE TABLE ledger_journal (
    sequence BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    body TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    CONSTRAINT ledger_journal_primary PRIMARY KEY (sequence)
);

-- The whole state after a row of the journal, so that a start does not have to replay all.
CREATE TABLE ledger_checkpoints (
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL,
    state TEXT NOT NULL,
    CONSTRAINT ledger_checkpoints_primary PRIMARY KEY (sequence)
);

-- What was used, by hour; written together with the journal's rows that say so. They outlive
-- what they are about, hence no foreign keys. `app` and `process` are empty where something
-- belongs to the environment or the app as a whole. Units may be more than a BIGINT holds:
-- they are units_high * 10^12 + units_low.
CREATE TABLE usage_hours (
    environment_id TEXT NOT NULL,
    hour_ms BIGINT NOT NULL,
    app TEXT NOT NULL,
    process TEXT NOT NULL,
    sku TEXT NOT NULL,
    price_version BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    units_high BIGINT NOT NULL,
    units_low BIGINT NOT NULL,
    amount_nano BIGINT NOT NULL,
    CONSTRAINT usage_hours_primary PRIMARY KEY (environment_id, hour_ms, app, process, sku, price_version, account_id)
);
CREATE INDEX usage_hours_by_project ON usage_hours (project_id, hour_ms);
CREATE INDEX usage_hours_by_account ON usage_hours (account_id, hour_ms);
CREATE INDEX usage_hours_by_hour ON usage_hours (hour_ms);

-- When an app's own calls count as a runaway; an app without a row has the rules of the house.
CREATE TABLE guard_rules (
    environment_id TEXT NOT NULL,
    app TEXT NOT NULL,
    rules TEXT NOT NULL,
    CONSTRAINT guard_rules_primary PRIMARY KEY (environment_id, app),
    CONSTRAINT guard_rules_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);
