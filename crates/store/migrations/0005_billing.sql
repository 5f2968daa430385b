-- Records for an outside billing system: so that usage and documents reach it once each, however
-- often it or control fails in between, and so that what it only says to have can be told from
-- what was read back from it. What a record tells never changes.

CREATE TABLE billing_records (
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    account_id TEXT NOT NULL,
    -- Only of usage: which hour, and what the rows of usage_hours of that hour added up to when
    -- the record was written, so that what comes later shows.
    hour_ms BIGINT,
    seen_high BIGINT,
    seen_low BIGINT,
    seen_nano BIGINT,
    amount TEXT NOT NULL,
    -- As it is sent.
    body TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- Since when it is in this state.
    entered_ms BIGINT NOT NULL,
    -- Since when it is tried, and how many attempts have failed since.
    queued_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    -- When it is tried next, or when it was done with.
    next_ms BIGINT NOT NULL,
    -- What the outside system said last, and what is wrong.
    answer TEXT,
    problem TEXT,
    CONSTRAINT billing_records_primary PRIMARY KEY (id)
);
CREATE INDEX billing_records_by_state ON billing_records (state, next_ms);
CREATE INDEX billing_records_by_hour ON billing_records (account_id, hour_ms);
CREATE INDEX billing_records_by_created ON billing_records (created_ms);
