-- Who may pass to a whole environment, and environments that are closed for maintenance.

CREATE TABLE access_users (
    environment_id TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Of the password, by argon2id.
    hash TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT access_users_primary PRIMARY KEY (environment_id, name),
    CONSTRAINT access_users_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);

CREATE TABLE maintenance (
    environment_id TEXT NOT NULL,
    -- What visitors are told and who gets through, as JSON.
    closed TEXT NOT NULL,
    CONSTRAINT maintenance_primary PRIMARY KEY (environment_id),
    CONSTRAINT maintenance_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);
