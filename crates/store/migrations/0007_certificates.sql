-- Host names get certificates, so that they are reached by TLS. What authorities were asked for is
-- kept, because they count it, also over restarts of control.

ALTER TABLE domains ADD COLUMN redirect_to TEXT;
ALTER TABLE domains ADD COLUMN https_redirect BIGINT NOT NULL DEFAULT 1;
ALTER TABLE domains ADD COLUMN hsts_s BIGINT NOT NULL DEFAULT 0;

CREATE TABLE certificates (
    id TEXT NOT NULL,
    origin TEXT NOT NULL,
    names TEXT NOT NULL,
    chain TEXT NOT NULL,
    -- Sealed.
    key TEXT NOT NULL,
    not_before_ms BIGINT NOT NULL,
    not_after_ms BIGINT NOT NULL,
    -- When the authority wants it to be renewed, and when it is asked for that again.
    renew_ms BIGINT,
    ask_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT certificates_primary PRIMARY KEY (id)
);

-- Names whose last try went wrong. A name need not be a row of `domains`: `*.apps.example.org`.
CREATE TABLE certificate_names (
    name TEXT NOT NULL,
    looks BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    problem TEXT NOT NULL,
    CONSTRAINT certificate_names_primary PRIMARY KEY (name)
);

-- What authorities count: orders, certificates by registered domain, failed validations by name.
CREATE TABLE certificate_counts (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX certificate_counts_by_time ON certificate_counts (at_ms);

-- What an authority said to be over its limits, and until when.
CREATE TABLE certificate_limits (
    subject TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    CONSTRAINT certificate_limits_primary PRIMARY KEY (subject)
);
