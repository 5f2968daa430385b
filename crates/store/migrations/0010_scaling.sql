-- The number of instances of a process may follow what is asked of it: from `instances` to `most`.

ALTER TABLE scales ADD COLUMN most BIGINT;
