-- The past of what was measured, for charts: packed by process, resolution and stretch of time, so that a
-- process takes a bounded number of rows however long it lives. What is packed is the business of control.

CREATE TABLE metric_chunks (
    environment_id TEXT NOT NULL,
    -- Both empty for what belongs to the environment as a whole.
    app TEXT NOT NULL,
    process TEXT NOT NULL,
    -- Milliseconds between two points.
    step_ms BIGINT NOT NULL,
    -- Where the stretch begins.
    from_ms BIGINT NOT NULL,
    -- The points, in base64.
    data TEXT NOT NULL,
    CONSTRAINT metric_chunks_primary PRIMARY KEY (environment_id, step_ms, from_ms, app, process),
    CONSTRAINT metric_chunks_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);
CREATE INDEX metric_chunks_by_age ON metric_chunks (step_ms, from_ms);

-- When which release became live; deployments are forgotten before the charts are on which they are marked.
CREATE TABLE release_marks (
    environment_id TEXT NOT NULL,
    deployment_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    release_number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    CONSTRAINT release_marks_primary PRIMARY KEY (environment_id, deployment_id),
    CONSTRAINT release_marks_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);
CREATE INDEX release_marks_by_age ON release_marks (at_ms);
