-- What nodes have served, counted apart from what they paid: so that the audit can compare the two
-- also after node and control were started anew. Sums since the start of each node's process, which
-- is a run; a later report replaces an earlier one.

CREATE TABLE node_runs (
    run BIGINT NOT NULL,
    meter TEXT NOT NULL,
    -- The incarnations of the meter whose leases it has drawn, from the first to the last.
    first_incarnation BIGINT NOT NULL,
    last_incarnation BIGINT NOT NULL,
    began_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    -- It told its last counts; one that was killed could not.
    ended BIGINT NOT NULL,
    CONSTRAINT node_runs_primary PRIMARY KEY (run)
);

-- Environments may be gone since, hence no foreign key to them.
CREATE TABLE access_counts (
    run BIGINT NOT NULL,
    environment_id TEXT NOT NULL,
    requests BIGINT NOT NULL,
    open_requests BIGINT NOT NULL,
    turned_away BIGINT NOT NULL,
    egress_bytes BIGINT NOT NULL,
    CONSTRAINT access_counts_primary PRIMARY KEY (run, environment_id),
    CONSTRAINT access_counts_run FOREIGN KEY (run) REFERENCES node_runs (run) ON DELETE CASCADE
);
