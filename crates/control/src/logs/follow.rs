//! Following a log: first the newest lines, then what comes, without a gap between them. Lines
//! that went before a slow reader came to them are counted, and a line by Weir says how many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use weir_model::log::{LogLine, LogStream};
use weir_model::{AppName, ProcessName};

use super::find::{Found, LineId, Mark, behind, newest};
use super::segments::Position;
use super::{ANSWER_LINES, EnvironmentLogs, Filter, LogError, LogQuery, Logs, blocking};

/// What a follower gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The next line, and how far this is.
    Line(Found, Mark),
    /// So many lines of an app went before they could be read, by now.
    Gap {
        /// Of which app.
        app: AppName,
        /// How many.
        lines: u64,
        /// The line that follows them, if there is one yet.
        before: Option<LineId>,
        /// When.
        at_ms: i64,
    },
}

struct Follower {
    logs: Logs,
    query: LogQuery,
    /// Only what is behind it.
    after: Option<Mark>,
    filter: Filter,
    started: Option<Started>,
    ready: VecDeque<Followed>,
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
        self.follow_from(query, None).filter_map(|followed| async move {
            match followed {
                Followed::Line(found, _) => Some(found.line),
                Followed::Gap { app, lines, at_ms, .. } => missed_line(&app, at_ms, lines),
            }
        })
    }

    /// The same, with identities, and from where somebody stopped, if that is named. What went before a slow reader
    /// came to it is told as a gap.
    pub fn follow_from(&self, query: LogQuery, after: Option<Mark>) -> impl Stream<Item = Followed> + Send + use<> {
        let filter = Filter::new(&query);
        let follower = Follower {
            logs: self.clone(),
            query,
            after,
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
    async fn next(&mut self) -> Result<Option<Followed>, LogError> {
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

    /// Reads the newest lines and remembers where they ended, or finds where to go on.
    async fn start(&mut self) -> Result<(), LogError> {
        let (shared, query, filter) = (self.logs.shared.clone(), self.query.clone(), self.filter.clone());
        let after = self.after.take();
        let (started, lines) = blocking(move || {
            let environment = shared.environment(query.environment)?;
            let news = environment.news.subscribe();
            let ends = environment.ends(&query);
            let mut lines = Vec::new();
            let positions = match &after {
                Some(mark) => behind(ends, mark)?,
                // All that is kept.
                None if query.limit == 0 => BTreeMap::new(),
                None => {
                    lines = newest(&ends, query.since_ms, &filter, None, query.limit.min(ANSWER_LINES))?;
                    ends.into_iter().map(|(app, _, end)| (app, end)).collect()
                }
            };
            let mut next = numbers(&positions);
            for found in lines.iter().rev() {
                next.insert(found.id.app.clone(), found.id.number);
            }
            let lines = lines.into_iter().map(Piece::Line).collect();
            let lines = marked(lines, next, query.app.is_none());
            let started = Started {
                environment,
                news,
                positions,
            };
            Ok((started, lines))
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
            let (mut pieces, mut moved) = (Vec::new(), false);
            let before = numbers(&positions);
            let asked = environment.asked(&query);
            for (app, segments) in &asked {
                // A log that was not there when following began is read from its beginning.
                let position = positions.entry(app.clone()).or_default();
                let page = segments.forwards(*position)?;
                moved |= page.next != *position;
                *position = page.next;
                let numbers = page.first_line()..;
                let found = page.bytes.split(|&byte| byte == b'\n').zip(numbers);
                let found = found.filter_map(|(line, number)| filter.found(app, number, line));
                let found: Vec<Found> = found.collect();
                if page.missed > 0 {
                    pieces.push(Piece::Gap {
                        app: app.clone(),
                        lines: page.missed,
                        before: found.first().map(|found| found.id.clone()),
                        at_ms: found.first().map_or(now_ms, |found| found.line.at_ms),
                    });
                }
                pieces.extend(found.into_iter().map(Piece::Line));
            }
            if asked.len() > 1 {
                pieces.sort_by_cached_key(order);
            }
            Ok((positions, marked(pieces, before, query.app.is_none()), moved))
        })
        .await?;
        if let Some(started) = &mut self.started {
            started.positions = positions;
        }
        self.ready.extend(lines);
        Ok(moved)
    }
}

/// What was read, before it is known how far it is.
enum Piece {
    Line(Found),
    Gap {
        app: AppName,
        lines: u64,
        before: Option<LineId>,
        at_ms: i64,
    },
}

/// The numbers of the next lines.
fn numbers(positions: &BTreeMap<AppName, Position>) -> BTreeMap<AppName, u64> {
    positions
        .iter()
        .map(|(app, position)| (app.clone(), position.line()))
        .collect()
}

/// Says of each line how far it is. `next` are the numbers of the next lines before it.
fn marked(pieces: Vec<Piece>, mut next: BTreeMap<AppName, u64>, several: bool) -> Vec<Followed> {
    let mark = |piece| match piece {
        Piece::Line(found) => {
            next.remove(&found.id.app);
            let mark = Mark {
                last: found.id.clone(),
                next: several.then(|| next.clone()),
            };
            next.insert(found.id.app.clone(), found.id.number + 1);
            Followed::Line(found, mark)
        }
        Piece::Gap {
            app,
            lines,
            before,
            at_ms,
        } => Followed::Gap {
            app,
            lines,
            before,
            at_ms,
        },
    };
    pieces.into_iter().map(mark).collect()
}

/// Where it stands among what several logs have: a gap before the line that follows it.
fn order(piece: &Piece) -> Option<LineId> {
    match piece {
        Piece::Line(found) => Some(found.id.clone()),
        Piece::Gap { before, .. } => before.clone(),
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
