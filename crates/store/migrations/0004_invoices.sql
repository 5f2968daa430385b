-- Invoices: so that what was charged is on paper that never changes, numbered without gaps.
-- `document` is what is on the paper; it is written once. Drafts have no number.

CREATE TABLE invoices (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    number TEXT,
    -- The invoice that a credit note takes back, or lines of.
    credits_id TEXT,
    from_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    final_ms BIGINT,
    document TEXT NOT NULL,
    CONSTRAINT invoices_primary PRIMARY KEY (id),
    CONSTRAINT invoices_number_unique UNIQUE (number),
    CONSTRAINT invoices_account FOREIGN KEY (account_id) REFERENCES accounts (id),
    CONSTRAINT invoices_credits FOREIGN KEY (credits_id) REFERENCES invoices (id)
);
CREATE INDEX invoices_by_account ON invoices (account_id, created_ms);
