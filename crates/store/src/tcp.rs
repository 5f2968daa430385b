//! Ports of the machine that belong to services that speak TCP.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use sqlx::AnyConnection;
use weir_model::{AppName, EnvironmentId, TcpServiceName, UnixMillis};

use crate::row::{Fields, FromRow, all};
use crate::{Store, StoreError, environment};

/// How often it is tried again where others take ports at the same time.
const ATTEMPTS: usize = 5;

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpPort {
    /// Unique on this Weir.
    pub port: u16,
    /// The environment that has it.
    pub environment: EnvironmentId,
    /// The app.
    pub app: AppName,
    /// The service.
    pub service: TcpServiceName,
    /// Whether Weir chose it; otherwise the app names it.
    pub given: bool,
}

/// What a service asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpPortWish {
    /// The app.
    pub app: AppName,
    /// The service.
    pub service: TcpServiceName,
    /// This one; or any.
    pub port: Option<u16>,
}

/// Why a service gets no port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpPortRefused {
    /// Another one has it.
    Taken(TcpPort),
    /// It is none of those that may be given out.
    Outside(TcpPortWish, u16),
    /// All of them are taken.
    NoneLeft(TcpPortWish),
}

impl TcpPort {
    fn fulfils(&self, wish: &TcpPortWish) -> bool {
        (&self.app, &self.service) == (&wish.app, &wish.service)
            && match wish.port {
                Some(port) => self.port == port,
                None => self.given,
            }
    }
}

impl FromRow for TcpPort {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let port = row.integer("port")?;
        Ok(Self {
            port: u16::try_from(port).map_err(|error| StoreError::unreadable("port", error))?,
            environment: row.parsed("environment_id")?,
            app: row.parsed("app")?,
            service: row.parsed("service")?,
            given: row.flag("given")?,
        })
    }
}

impl Store {
    /// The ports of an environment, in their order.
    pub async fn tcp_port_list(&self, environment: EnvironmentId) -> Result<Vec<TcpPort>, StoreError> {
        let query = sqlx::query("SELECT * FROM tcp_ports WHERE environment_id = $1").bind(environment.to_string());
        let mut ports: Vec<TcpPort> = all(&query.fetch_all(self.read()).await?)?;
        ports.sort_by_key(|port| port.port);
        Ok(ports)
    }

    /// Gives an environment the ports that it asks for, out of `range` (none: there are none), all
    /// or none of them. What it has and asks for stays; what it has beside that and what is `kept`
    /// is free again. `NotFound` if there is no such environment.
    pub async fn tcp_ports_settle(
        &self,
        environment: EnvironmentId,
        wishes: &[TcpPortWish],
        kept: &[TcpPortWish],
        range: Option<RangeInclusive<u16>>,
        now_ms: UnixMillis,
    ) -> Result<Result<(), TcpPortRefused>, StoreError> {
        let mut attempts = 1;
        loop {
            let mut transaction = self.begin().await?;
            environment::lock_in_tx(&mut transaction, environment).await?;
            let settled = settle(&mut transaction, environment, wishes, kept, range.clone(), now_ms).await;
            match settled {
                Ok(Ok(())) => {
                    transaction.commit().await?;
                    return Ok(Ok(()));
                }
                // Another environment took the same one at the same time.
                Err(StoreError::Conflict(_)) if attempts < ATTEMPTS => attempts += 1,
                refused => return refused,
            }
        }
    }
}

async fn settle(
    connection: &mut AnyConnection,
    environment: EnvironmentId,
    wishes: &[TcpPortWish],
    kept: &[TcpPortWish],
    range: Option<RangeInclusive<u16>>,
    now_ms: UnixMillis,
) -> Result<Result<(), TcpPortRefused>, StoreError> {
    let rows = sqlx::query("SELECT * FROM tcp_ports")
        .fetch_all(&mut *connection)
        .await?;
    let mut ports: Vec<TcpPort> = all(&rows)?;
    let is_wanted = |port: &TcpPort| wishes.iter().chain(kept).any(|wish| port.fulfils(wish));
    let unwanted = ports.extract_if(.., |port| port.environment == environment && !is_wanted(port));
    for port in unwanted.collect::<Vec<_>>() {
        sqlx::query("DELETE FROM tcp_ports WHERE port = $1")
            .bind(i64::from(port.port))
            .execute(&mut *connection)
            .await?;
    }
    for wish in wishes {
        let has = |port: &TcpPort| port.environment == environment && port.fulfils(wish);
        if ports.iter().any(has) {
            continue;
        }
        let port = match choose(&ports, wish, range.clone()) {
            Ok(port) => port,
            Err(refused) => return Ok(Err(refused)),
        };
        let chosen = TcpPort {
            port,
            environment,
            app: wish.app.clone(),
            service: wish.service.clone(),
            given: wish.port.is_none(),
        };
        insert(connection, &chosen, now_ms).await?;
        ports.push(chosen);
    }
    Ok(Ok(()))
}

fn choose(ports: &[TcpPort], wish: &TcpPortWish, range: Option<RangeInclusive<u16>>) -> Result<u16, TcpPortRefused> {
    if let Some(port) = wish.port {
        if let Some(taken) = ports.iter().find(|taken| taken.port == port) {
            return Err(TcpPortRefused::Taken(taken.clone()));
        }
        return match range.is_some_and(|range| range.contains(&port)) {
            true => Ok(port),
            false => Err(TcpPortRefused::Outside(wish.clone(), port)),
        };
    }
    let taken: BTreeSet<u16> = ports.iter().map(|port| port.port).collect();
    let mut free = range.into_iter().flatten().filter(|port| !taken.contains(port));
    free.next().ok_or_else(|| TcpPortRefused::NoneLeft(wish.clone()))
}

async fn insert(connection: &mut AnyConnection, port: &TcpPort, now_ms: UnixMillis) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO tcp_ports (port, environment_id, app, service, given, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(i64::from(port.port))
    .bind(port.environment.to_string())
    .bind(port.app.as_str())
    .bind(port.service.as_str())
    .bind(i64::from(port.given))
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}
