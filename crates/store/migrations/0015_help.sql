-- What people ask those who run Weir, with how things stood at that moment, and what they are answered.

CREATE TABLE help_requests (
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- As people write it; empty where it is about nothing in particular. The identities behind it say the
    -- same for rights, also once what they name is gone.
    scope TEXT NOT NULL,
    account_id TEXT,
    project_id TEXT,
    environment_id TEXT,
    -- open, answered, closed
    state TEXT NOT NULL,
    -- Who asked: identity, and the name of then.
    by_id TEXT NOT NULL,
    by_name TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    -- How things stood, as JSON; absent where it was not attached.
    context TEXT,
    CONSTRAINT help_requests_primary PRIMARY KEY (id)
);
CREATE INDEX help_requests_by_asker ON help_requests (by_id, created_ms);
CREATE INDEX help_requests_by_age ON help_requests (state, updated_ms);

CREATE TABLE help_messages (
    id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    by_id TEXT NOT NULL,
    by_name TEXT NOT NULL,
    -- 1 if it is from whoever runs Weir.
    operator BIGINT NOT NULL,
    text TEXT NOT NULL,
    CONSTRAINT help_messages_primary PRIMARY KEY (id),
    CONSTRAINT help_messages_request FOREIGN KEY (request_id) REFERENCES help_requests (id) ON DELETE CASCADE
);
CREATE INDEX help_messages_by_request ON help_messages (request_id, at_ms);
CREATE INDEX help_messages_by_author ON help_messages (by_id, at_ms);

-- Mail that is to be sent; what was sent or given up is removed.
CREATE TABLE help_mails (
    id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    address TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    CONSTRAINT help_mails_primary PRIMARY KEY (id),
    CONSTRAINT help_mails_message FOREIGN KEY (message_id) REFERENCES help_messages (id) ON DELETE CASCADE
);
CREATE INDEX help_mails_by_age ON help_mails (next_ms);
-- Written first by whoever asks or answers, so that bounds hold however many do at once.
INSERT INTO counters (name, value) VALUES ('help', 0);
