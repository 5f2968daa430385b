-- Who people are, how they signed in, what they may do where, and what was done.

-- The address is kept in lower case. Somebody who signs in elsewhere only has no password.
CREATE TABLE users (
    id TEXT NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Of the password, by argon2id.
    password_hash TEXT,
    -- The secret of the second factor, sealed; `totp_pending` until it is confirmed by a code.
    totp_secret TEXT,
    totp_pending TEXT,
    -- The last step of time whose code was used; no code is taken twice.
    totp_step BIGINT NOT NULL,
    -- How an OpenID provider calls them: issuer and subject.
    oidc_subject TEXT,
    language TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT users_primary PRIMARY KEY (id),
    CONSTRAINT users_email_unique UNIQUE (email),
    CONSTRAINT users_oidc_unique UNIQUE (oidc_subject)
);

CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL,
    -- A keyed hash; a code that was used is removed.
    code_hash TEXT NOT NULL,
    CONSTRAINT recovery_codes_primary PRIMARY KEY (user_id, code_hash),
    CONSTRAINT recovery_codes_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

-- One row for each browser in which somebody is signed in.
CREATE TABLE sign_ins (
    id TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL,
    user_id TEXT NOT NULL,
    -- password, totp, recovery-code, invitation, setup
    how TEXT NOT NULL,
    -- The password was right, and the second factor is still to come.
    waits BIGINT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    used_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    CONSTRAINT sign_ins_primary PRIMARY KEY (id),
    CONSTRAINT sign_ins_secret_unique UNIQUE (secret_sha256),
    CONSTRAINT sign_ins_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX sign_ins_by_user ON sign_ins (user_id);

CREATE TABLE password_resets (
    secret_sha256 TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    CONSTRAINT password_resets_primary PRIMARY KEY (secret_sha256),
    CONSTRAINT password_resets_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

-- `place` is `platform`, or the identity of an account, a project or an environment; where it is not
-- the platform, one of the three columns behind it says the same, so that rows go with what they are about.
CREATE TABLE service_accounts (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    place TEXT NOT NULL,
    account_id TEXT,
    project_id TEXT,
    environment_id TEXT,
    created_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT service_accounts_primary PRIMARY KEY (id),
    CONSTRAINT service_accounts_name_unique UNIQUE (name),
    CONSTRAINT service_accounts_account FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE,
    CONSTRAINT service_accounts_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT service_accounts_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);

-- Whose role: that of a user or of a service account.
CREATE TABLE memberships (
    id TEXT NOT NULL,
    user_id TEXT,
    service_account_id TEXT,
    role TEXT NOT NULL,
    place TEXT NOT NULL,
    account_id TEXT,
    project_id TEXT,
    environment_id TEXT,
    created_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT memberships_primary PRIMARY KEY (id),
    CONSTRAINT memberships_user_unique UNIQUE (user_id, place),
    CONSTRAINT memberships_service_account_unique UNIQUE (service_account_id, place),
    CONSTRAINT memberships_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT memberships_service_account FOREIGN KEY (service_account_id) REFERENCES service_accounts (id) ON DELETE CASCADE,
    CONSTRAINT memberships_account FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE,
    CONSTRAINT memberships_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT memberships_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);
CREATE INDEX memberships_by_place ON memberships (place);

-- For whom (NULL: for whoever has the link), and which roles, as JSON.
CREATE TABLE invitations (
    id TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL,
    email TEXT,
    roles TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    used_ms BIGINT,
    CONSTRAINT invitations_primary PRIMARY KEY (id),
    CONSTRAINT invitations_secret_unique UNIQUE (secret_sha256)
);

-- Tokens of before belong to nobody and go on with the scope that they have.
ALTER TABLE tokens ADD COLUMN service_account_id TEXT
    CONSTRAINT tokens_service_account REFERENCES service_accounts (id) ON DELETE CASCADE;
ALTER TABLE tokens ADD COLUMN used_ms BIGINT;

-- What was done, by whom, from where. Names beside identities, because what they name may be gone.
-- Rows are never changed, and not removed before their time: triggers of the database see to it.
CREATE TABLE audit_entries (
    sequence BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    -- person, token, service-account, or unknown
    who_kind TEXT NOT NULL,
    who_id TEXT,
    who TEXT NOT NULL,
    -- What let them do it, or what they had: `owner of weir`.
    role TEXT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    method TEXT NOT NULL,
    route TEXT NOT NULL,
    -- As people write it: `weir`, `account:default`, `shop`, `shop/staging`.
    scope TEXT NOT NULL,
    account_id TEXT,
    project_id TEXT,
    environment_id TEXT,
    target TEXT NOT NULL,
    status BIGINT NOT NULL,
    request TEXT NOT NULL,
    detail TEXT NOT NULL,
    CONSTRAINT audit_entries_primary PRIMARY KEY (sequence)
);
CREATE INDEX audit_entries_by_age ON audit_entries (at_ms);
CREATE INDEX audit_entries_by_project ON audit_entries (project_id, sequence);

INSERT INTO counters (name, value) VALUES ('audit', 0);
-- Written first by whatever changes who is an owner, so that two changes cannot each leave the other one.
INSERT INTO counters (name, value) VALUES ('people', 0);
