-- The first schema: everything from a project to a served request, so that what people asked
-- for is written down before anything is done about it.
--
-- Only TEXT and BIGINT, so that the same statements run on SQLite and PostgreSQL: identifiers
-- and enumerations are their words, instants are milliseconds since the Unix epoch, yes and no
-- are 1 and 0, what is read only as a whole is JSON. Every constraint that a person can run
-- into has a name, which src/error.rs turns into words.

CREATE TABLE projects (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    destroying BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT projects_primary PRIMARY KEY (id),
    CONSTRAINT projects_name_unique UNIQUE (name)
);

-- `live` and `previous` name deployments but are no foreign keys: the two tables would need
-- each other to exist first. The only statements that set them are those of a switch.
-- `last_release_number` is the highest number ever given, so that a number is never used
-- twice, not even after its release was removed.
CREATE TABLE environments (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    branch TEXT,
    mode TEXT NOT NULL,
    live TEXT,
    previous TEXT,
    previous_until_ms BIGINT NOT NULL,
    configuration_version BIGINT NOT NULL,
    last_release_number BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT environments_primary PRIMARY KEY (id),
    CONSTRAINT environments_name_unique UNIQUE (project_id, name),
    CONSTRAINT environments_branch_unique UNIQUE (project_id, branch),
    CONSTRAINT environments_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE
);

CREATE TABLE variables (
    environment_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    secret BIGINT NOT NULL,
    build BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    CONSTRAINT variables_primary PRIMARY KEY (environment_id, name),
    CONSTRAINT variables_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);

CREATE TABLE scales (
    environment_id TEXT NOT NULL,
    app TEXT NOT NULL,
    process TEXT NOT NULL,
    instances BIGINT NOT NULL,
    CONSTRAINT scales_primary PRIMARY KEY (environment_id, app, process),
    CONSTRAINT scales_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);

CREATE TABLE domains (
    id TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    app TEXT,
    host TEXT NOT NULL,
    platform BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT domains_primary PRIMARY KEY (id),
    CONSTRAINT domains_host_unique UNIQUE (host),
    CONSTRAINT domains_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);
CREATE INDEX domains_by_environment ON domains (environment_id);

CREATE TABLE tokens (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL,
    scope TEXT NOT NULL,
    project_id TEXT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    CONSTRAINT tokens_primary PRIMARY KEY (id),
    CONSTRAINT tokens_secret_unique UNIQUE (secret_sha256),
    CONSTRAINT tokens_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE
);
CREATE INDEX tokens_by_project ON tokens (project_id);

CREATE TABLE releases (
    id TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    apps TEXT NOT NULL,
    configuration TEXT NOT NULL,
    configuration_version BIGINT NOT NULL,
    source TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT releases_primary PRIMARY KEY (id),
    CONSTRAINT releases_number_unique UNIQUE (environment_id, number),
    CONSTRAINT releases_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);

-- A task may be pruned before its deployment, so `task_id` is no foreign key.
CREATE TABLE deployments (
    id TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    release_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    task_id TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    created_ms BIGINT NOT NULL,
    entered_ms BIGINT NOT NULL,
    CONSTRAINT deployments_primary PRIMARY KEY (id),
    CONSTRAINT deployments_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE,
    CONSTRAINT deployments_release FOREIGN KEY (release_id) REFERENCES releases (id) ON DELETE CASCADE
);
CREATE INDEX deployments_by_environment ON deployments (environment_id, created_ms);
CREATE INDEX deployments_by_release ON deployments (release_id);

-- Tasks outlive what they are about, so that people can read how it was destroyed; hence no
-- foreign keys, and the project's name beside its identifier.
CREATE TABLE tasks (
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    project_id TEXT NOT NULL,
    project_name TEXT,
    environment_id TEXT,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    error TEXT,
    created_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    line_count BIGINT NOT NULL,
    lines_left_out BIGINT NOT NULL,
    CONSTRAINT tasks_primary PRIMARY KEY (id)
);
CREATE INDEX tasks_by_age ON tasks (created_ms);
CREATE INDEX tasks_by_project ON tasks (project_id, created_ms);
CREATE INDEX tasks_by_state ON tasks (state);

CREATE TABLE task_lines (
    task_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    line TEXT NOT NULL,
    CONSTRAINT task_lines_primary PRIMARY KEY (task_id, sequence),
    CONSTRAINT task_lines_task FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE
);

-- The sequence comes from a row of `counters`, not from the database's own sequences: those
-- become visible out of order, and whoever reads "all after 41" would miss a late 40.
CREATE TABLE changes (
    sequence BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    project TEXT NOT NULL,
    environment TEXT,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    CONSTRAINT changes_primary PRIMARY KEY (sequence)
);

CREATE TABLE counters (
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    CONSTRAINT counters_primary PRIMARY KEY (name)
);
INSERT INTO counters (name, value) VALUES ('change', 0);

-- `status` and `body` are empty while the request is still being worked on.
CREATE TABLE idempotency (
    token TEXT NOT NULL,
    request_key TEXT NOT NULL,
    request_sha256 TEXT NOT NULL,
    status BIGINT,
    body TEXT,
    created_ms BIGINT NOT NULL,
    CONSTRAINT idempotency_primary PRIMARY KEY (token, request_key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

CREATE TABLE settings (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT settings_primary PRIMARY KEY (name)
);
