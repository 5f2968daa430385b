-- A deployment may be a canary: what part of the requests it gets, as JSON; none where it is not.

ALTER TABLE deployments ADD COLUMN canary TEXT;
