//! What nodes have served, by run: one process of a node, from its start to its end.

use std::collections::BTreeMap;

use weir_model::route::AccessCounts;
use weir_model::{EnvironmentId, UnixMillis};

use crate::row::{Fields, FromRow, all};
use crate::{Store, StoreError};

/// One process of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRun {
    /// Which; made anew at each start.
    pub run: u64,
    /// The meter that pays for it.
    pub meter: String,
    /// The incarnations of the meter whose leases it has drawn, from this one …
    pub first_incarnation: u64,
    /// … to this one.
    pub last_incarnation: u64,
    /// When it was first heard of.
    pub began_ms: UnixMillis,
    /// When it was last heard of.
    pub seen_ms: UnixMillis,
    /// Whether it told its last counts; one that was killed could not.
    pub ended: bool,
    /// What it has served.
    pub counts: BTreeMap<EnvironmentId, AccessCounts>,
}

impl FromRow for NodeRun {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            run: unsigned(row, "run")?,
            meter: row.text("meter")?,
            first_incarnation: unsigned(row, "first_incarnation")?,
            last_incarnation: unsigned(row, "last_incarnation")?,
            began_ms: row.integer("began_ms")?,
            seen_ms: row.integer("seen_ms")?,
            ended: row.flag("ended")?,
            counts: BTreeMap::new(),
        })
    }
}

/// A row of counts: of which run, of which environment.
struct Counted(u64, EnvironmentId, AccessCounts);

impl FromRow for Counted {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let counts = AccessCounts {
            requests: unsigned(row, "requests")?,
            open: unsigned(row, "open_requests")?,
            turned_away: unsigned(row, "turned_away")?,
            egress_bytes: unsigned(row, "egress_bytes")?,
        };
        Ok(Self(unsigned(row, "run")?, row.parsed("environment_id")?, counts))
    }
}

fn unsigned(row: &Fields<'_>, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.integer(column)?).map_err(|error| StoreError::unreadable(column, error))
}

fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|error| StoreError::Internal(format!("so much cannot be kept: {error}")))
}

impl Store {
    /// Keeps how a run stands, in place of what was kept of it before.
    pub async fn node_run_put(&self, run: &NodeRun) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO node_runs (run, meter, first_incarnation, last_incarnation, began_ms, seen_ms, ended)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (run) DO UPDATE SET first_incarnation = excluded.first_incarnation,
                last_incarnation = excluded.last_incarnation, seen_ms = excluded.seen_ms, ended = excluded.ended",
        )
        .bind(signed(run.run)?)
        .bind(&run.meter)
        .bind(signed(run.first_incarnation)?)
        .bind(signed(run.last_incarnation)?)
        .bind(run.began_ms)
        .bind(run.seen_ms)
        .bind(i64::from(run.ended))
        .execute(&mut *transaction)
        .await?;
        for (environment, counts) in &run.counts {
            sqlx::query(
                "INSERT INTO access_counts (run, environment_id, requests, open_requests, turned_away, egress_bytes)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (run, environment_id) DO UPDATE SET requests = excluded.requests,
                    open_requests = excluded.open_requests, turned_away = excluded.turned_away,
                    egress_bytes = excluded.egress_bytes",
            )
            .bind(signed(run.run)?)
            .bind(environment.to_string())
            .bind(signed(counts.requests)?)
            .bind(signed(counts.open)?)
            .bind(signed(counts.turned_away)?)
            .bind(signed(counts.egress_bytes)?)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// All runs that are kept, oldest first.
    pub async fn node_run_list(&self) -> Result<Vec<NodeRun>, StoreError> {
        let mut transaction = self.begin_snapshot().await?;
        let runs = sqlx::query("SELECT * FROM node_runs ORDER BY began_ms, run")
            .fetch_all(&mut *transaction)
            .await?;
        let counts = sqlx::query("SELECT * FROM access_counts")
            .fetch_all(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let mut counts_by_run: BTreeMap<u64, BTreeMap<EnvironmentId, AccessCounts>> = BTreeMap::new();
        for Counted(run, environment, counts) in all::<Counted>(&counts)? {
            counts_by_run.entry(run).or_default().insert(environment, counts);
        }
        let mut runs: Vec<NodeRun> = all(&runs)?;
        for run in &mut runs {
            run.counts = counts_by_run.remove(&run.run).unwrap_or_default();
        }
        Ok(runs)
    }
}
