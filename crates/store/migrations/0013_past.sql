-- What pages show of the past: who asked for something, and when a deployment entered its states.

-- The name of a person or a token, as it was then.
ALTER TABLE tasks ADD COLUMN asked_by TEXT;
ALTER TABLE deployments ADD COLUMN asked_by TEXT;
ALTER TABLE releases ADD COLUMN asked_by TEXT;

-- A state may be entered once more; `sequence` counts within the deployment.
CREATE TABLE deployment_steps (
    deployment_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    state TEXT NOT NULL,
    entered_ms BIGINT NOT NULL,
    CONSTRAINT deployment_steps_primary PRIMARY KEY (deployment_id, sequence),
    CONSTRAINT deployment_steps_deployment FOREIGN KEY (deployment_id) REFERENCES deployments (id) ON DELETE CASCADE
);

-- The overview asks for those of all environments that are under way, or have failed.
CREATE INDEX deployments_by_state ON deployments (state);
