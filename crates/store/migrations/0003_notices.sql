-- Notices: so that people learn by mail and their systems by webhook when money is short, also
-- when the network, the mail server or control fails in between.

CREATE TABLE contacts (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    -- Absent for all projects of the account.
    project_id TEXT,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    -- What webhooks are signed with, sealed; empty for mail.
    secret TEXT NOT NULL,
    -- 1 if it may lead to the machine itself and to private networks.
    private BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT contacts_primary PRIMARY KEY (id),
    CONSTRAINT contacts_account FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE,
    CONSTRAINT contacts_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE
);
CREATE INDEX contacts_by_account ON contacts (account_id);
CREATE INDEX contacts_by_project ON contacts (project_id);

-- What is to be sent and what was; for each contact in the order of `sequence`. The same `key`
-- for the same contact is the same notice, however often it is handed in.
CREATE TABLE notices (
    sequence BIGINT NOT NULL,
    id TEXT NOT NULL,
    contact_id TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- When it is tried next, or when it was done with.
    next_ms BIGINT NOT NULL,
    problem TEXT,
    CONSTRAINT notices_primary PRIMARY KEY (sequence),
    CONSTRAINT notices_key_unique UNIQUE (contact_id, key),
    CONSTRAINT notices_contact FOREIGN KEY (contact_id) REFERENCES contacts (id) ON DELETE CASCADE
);
CREATE INDEX notices_by_state ON notices (state, next_ms);
INSERT INTO counters (name, value) VALUES ('notice', 0);
