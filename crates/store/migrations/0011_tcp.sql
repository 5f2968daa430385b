-- Services that speak TCP: the ports of the machine that belong to them, and the domains that lead
-- to them. `given` is 1 where Weir chose the port, which then stays with its service; a service may
-- have more than one port for a while, because a release that names another one does not serve yet.

CREATE TABLE tcp_ports (
    port BIGINT NOT NULL,
    environment_id TEXT NOT NULL,
    app TEXT NOT NULL,
    service TEXT NOT NULL,
    given BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT tcp_ports_primary PRIMARY KEY (port),
    CONSTRAINT tcp_ports_environment FOREIGN KEY (environment_id) REFERENCES environments (id) ON DELETE CASCADE
);
CREATE INDEX tcp_ports_by_environment ON tcp_ports (environment_id);

ALTER TABLE domains ADD COLUMN tcp TEXT;
