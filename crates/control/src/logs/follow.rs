//! Following a log: first the newest lines, then what comes, without a gap between them. Lines
//! that went before a slow reader came to them are counted, and a line by Weir says how many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::watch;
use weir_model::log::{LogLine, LogStream};
use weir_model::{AppName, ProcessName};

use super::segments::Position;
use super::{EnvironmentLogs, Filter, LogError, LogQuery, Logs, blocking, newest};

struct Follower {
    logs: Logs,
    query: LogQuery,
    filter: Filter,
    started: Option<Started>,
    ready: VecDeque<LogLine>,
}

struct Started {
    environment: Arc<EnvironmentLogs>,
    news: watch::Receiver<u64>,
    positions: BTreeMap<AppName, Position>,
}

impl Logs {
    /// The newest lines that match (`limit` of them; with 0 all that are kept, oldest first), then
    /// new ones as they come. Lines that went
    /// before a slow reader came to them are told by a line of the stream `weir`. Ends if the
    /// environment is removed, or with an error in Weir's own log if the files fail.
    pub fn follow(&self, query: LogQuery) -> impl Stream<Item = LogLine> + Send + use<> {
        let filter = Filter::new(&query);
        let follower = Follower {
            logs: self.clone(),
            query,
            filter,
            started: None,
            ready: VecDeque::new(),
        };
        futures_util::stream::unfold(follower, |mut follower| async move {
            match follower.next().await {
                Ok(event) => Some((event?, follower)),
                Err(error) => {
                    tracing::warn!(environment.id = %follower.query.environment, %error, "a log cannot be followed further");
                    None
                }
            }
        })
    }
}

impl Follower {
    async fn next(&mut self) -> Result<Option<LogLine>, LogError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(started) = &mut self.started else {
                self.start().await?;
                continue;
            };
            started.news.borrow_and_update();
            if self.read().await? {
                continue;
            }
            let Some(started) = &mut self.started else { continue };
            let shared = &self.logs.shared;
            let current = super::lock(&shared.environments).get(&self.query.environment).cloned();
            if current.is_none_or(|current| !Arc::ptr_eq(&current, &started.environment)) {
                return Ok(None);
            }
            // A removed environment tells nobody, so look again from time to time.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(5), started.news.changed()).await;
        }
    }

    /// Reads the newest lines and remembers where they ended.
    async fn start(&mut self) -> Result<(), LogError> {
        let (shared, query, filter) = (self.logs.shared.clone(), self.query.clone(), self.filter.clone());
        let (started, lines) = blocking(move || {
            let environment = shared.environment(query.environment)?;
            let news = environment.news.subscribe();
            if query.limit == 0 {
                let started = Started {
                    environment,
                    news,
                    positions: BTreeMap::new(),
                };
                return Ok((started, Vec::new()));
            }
            let ends = environment.ends(&query);
            let lines = newest(&ends, &query, &filter)?;
            let positions = ends.into_iter().map(|(app, _, end)| (app, end)).collect();
            Ok((
                Started {
                    environment,
                    news,
                    positions,
                },
                lines,
            ))
        })
        .await?;
        self.started = Some(started);
        self.ready.extend(lines);
        Ok(())
    }

    /// Reads a page of each log. Returns whether any had something new.
    async fn read(&mut self) -> Result<bool, LogError> {
        let Some(started) = &mut self.started else {
            return Ok(false);
        };
        let (environment, query, filter) = (started.environment.clone(), self.query.clone(), self.filter.clone());
        let mut positions = std::mem::take(&mut started.positions);
        let now_ms = self.logs.shared.clock.now_ms();
        let (positions, lines, moved) = blocking(move || {
            let (mut lines, mut moved) = (Vec::new(), false);
            let asked = environment.asked(&query);
            for (app, segments) in &asked {
                // A log that was not there when following began is read from its beginning.
                let position = positions.entry(app.clone()).or_default();
                let page = segments.forwards(*position)?;
                moved |= page.next != *position;
                *position = page.next;
                let before = lines.len();
                lines.extend(
                    page.bytes
                        .split(|&byte| byte == b'\n')
                        .filter_map(|line| filter.read(app, line)),
                );
                if page.missed > 0 {
                    let at_ms = lines.get(before).map_or(now_ms, |line| line.at_ms);
                    lines.extend(missed_line(app, at_ms, page.missed));
                    lines[before..].rotate_right(1);
                }
            }
            if asked.len() > 1 {
                lines.sort_by_key(|line| line.at_ms);
            }
            Ok((positions, lines, moved))
        })
        .await?;
        if let Some(started) = &mut self.started {
            started.positions = positions;
        }
        self.ready.extend(lines);
        Ok(moved)
    }
}

fn missed_line(app: &AppName, at_ms: i64, missed: u64) -> Option<LogLine> {
    let text = format!("{missed} lines are left out here: they were written faster than this log was read");
    let process = ProcessName::new("weir").ok()?;
    Some(LogLine {
        at_ms,
        app: app.clone(),
        process,
        instance: None,
        stream: LogStream::Weir,
        text,
    })
}
