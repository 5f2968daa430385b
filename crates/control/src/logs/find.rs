//! Looking for lines: the newest, those before or behind one that is known, those around it.
//!
//! Each line has an identity, which says where it stands among all lines of its environment: when it
//! came, in which log, at which place there. Within a log that is the order in the file, so that
//! nothing is missed or told twice by whoever goes on from a line.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use weir_model::log::LogLine;
use weir_model::{AppName, UnixMillis};

use super::line::RawLine;
use super::segments::{Position, Segments};
use super::{ANSWER_BYTES, ANSWER_LINES, EnvironmentLogs, Filter, LogError, LogQuery, Logs, blocking};

/// Which line it is, and where it stands among all lines of its environment. As text it sorts in the
/// same way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId {
    /// When it came, in milliseconds since the Unix epoch.
    order_ms: UnixMillis,
    pub(super) app: AppName,
    /// Counts the lines of the log.
    pub(super) number: u64,
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A comma stands before all that names are made of.
        write!(f, "{:015},{},{:015}", self.order_ms, self.app, self.number)
    }
}

impl FromStr for LineId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.splitn(3, ',');
            let (order, app, number) = (parts.next()?, parts.next()?, parts.next()?);
            let digits =
                |text: &str| text.len() <= 18 && !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
            if !digits(order) || !digits(number) {
                return None;
            }
            Some(Self {
                order_ms: order.parse().ok()?,
                app: AppName::new(app).ok()?,
                number: number.parse().ok()?,
            })
        };
        parse().ok_or_else(|| "this is not the identity of a line".to_owned())
    }
}

/// Most logs of one mark.
const MARKED: usize = 1_000;

/// How far somebody has read who follows logs: behind which line, and, where several logs are followed,
/// which line is next in each of the others. Lines of one log come late while another goes on, so that one
/// line alone does not say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The last line.
    pub(super) last: LineId,
    /// The numbers of the next lines of the other logs; one that is not among them was not there yet. `None`:
    /// what stands before the last line was read.
    pub(super) next: Option<BTreeMap<AppName, u64>>,
}

impl From<LineId> for Mark {
    fn from(last: LineId) -> Self {
        Self { last, next: None }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.last)?;
        let Some(next) = &self.next else { return Ok(()) };
        if next.is_empty() {
            return f.write_str(";");
        }
        next.iter().try_for_each(|(app, number)| write!(f, ";{app}:{number}"))
    }
}

impl FromStr for Mark {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((last, rest)) = text.split_once(';') else {
            return text.parse().map(LineId::into);
        };
        let last = last.parse()?;
        let parse = |entry: &str| {
            let (app, number) = entry.split_once(':')?;
            Some((AppName::new(app).ok()?, number.parse().ok()?))
        };
        let entries = rest.split(';').filter(|entry| !entry.is_empty()).take(MARKED);
        let next: Option<BTreeMap<AppName, u64>> = entries.map(parse).collect();
        let next = next.ok_or_else(|| "this is not how far a log was read".to_owned())?;
        Ok(Self { last, next: Some(next) })
    }
}

/// From where lines are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The newest.
    End,
    /// The newest before a line.
    Before(LineId),
    /// The oldest behind a line.
    After(LineId),
    /// A line, and half of each before and behind it.
    Around(LineId),
}

/// A line with its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which one it is.
    pub id: LineId,
    /// The line.
    pub line: LogLine,
}

/// A log with its end.
pub(super) type End = (AppName, Arc<Segments>, Position);

impl Logs {
    /// The lines that match, from somewhere on, oldest first; `query.limit` of them, 10,000 at most,
    /// and as many as 16 MiB hold. `None` where the line that is named is kept no more.
    pub async fn find(&self, query: LogQuery, from: Start) -> Result<Option<Vec<Found>>, LogError> {
        let shared = self.shared.clone();
        blocking(move || {
            let environment = shared.environment(query.environment)?;
            find(&environment, &query, &from)
        })
        .await
    }
}

fn find(environment: &EnvironmentLogs, query: &LogQuery, from: &Start) -> Result<Option<Vec<Found>>, LogError> {
    let (ends, filter) = (environment.ends(query), Filter::new(query));
    let limit = query.limit.min(ANSWER_LINES);
    let newest = |before, limit| newest(&ends, query.since_ms, &filter, before, limit);
    let around = match from {
        Start::End => return newest(None, limit).map(Some),
        Start::Before(id) => return newest(Some(id), limit).map(Some),
        Start::After(id) => return oldest(&ends, &filter, id, limit).map(Some),
        Start::Around(id) => id,
    };
    // The line itself is shown whatever else is looked for.
    let all = LogQuery {
        access: query.access,
        ..LogQuery::new(query.environment)
    };
    let Some(line) = line_of(&environment.ends(&all), around)? else {
        return Ok(None);
    };
    let others = limit.saturating_sub(1);
    let mut lines = newest(Some(around), others / 2)?;
    lines.push(line);
    lines.extend(oldest(&ends, &filter, around, others - others / 2)?);
    Ok(Some(lines))
}

/// The newest lines of several logs, before one of them or before their ends, oldest first. Blocking.
pub(super) fn newest(
    ends: &[End],
    since_ms: Option<UnixMillis>,
    filter: &Filter,
    before: Option<&LineId>,
    limit: usize,
) -> Result<Vec<Found>, LogError> {
    let mut lines = Vec::new();
    for (app, segments, end) in ends {
        let (mut found, mut bytes) = (VecDeque::new(), 0);
        segments.backwards(*end, since_ms, |number, raw| {
            if found.len() >= limit || bytes >= ANSWER_BYTES {
                return ControlFlow::Break(());
            }
            let Some(one) = filter.found(app, number, raw) else {
                return ControlFlow::Continue(());
            };
            if before.is_none_or(|before| one.id < *before) {
                bytes += one.line.text.len();
                found.push_front(one);
            }
            ControlFlow::Continue(())
        })?;
        lines.extend(found);
        if ends.len() > 1 {
            keep_newest(&mut lines, limit);
        }
    }
    Ok(lines)
}

fn keep_newest(lines: &mut Vec<Found>, limit: usize) {
    lines.sort_by(|a, b| a.id.cmp(&b.id));
    lines.drain(..lines.len().saturating_sub(limit));
    let mut bytes = 0;
    let kept = lines.iter().rev().take_while(|found| {
        bytes += found.line.text.len();
        bytes <= ANSWER_BYTES
    });
    let kept = kept.count();
    lines.drain(..lines.len() - kept);
}

/// The oldest lines of several logs behind a line, oldest first. Blocking.
fn oldest(ends: &[End], filter: &Filter, behind: &LineId, limit: usize) -> Result<Vec<Found>, LogError> {
    let mut lines = Vec::new();
    for (app, segments, end) in ends {
        let (mut found, mut bytes) = (VecDeque::new(), 0);
        segments.backwards(*end, None, |number, raw| {
            let Some(id) = RawLine::parse(raw).map(|raw| id_of(app, number, &raw)) else {
                return ControlFlow::Continue(());
            };
            if id <= *behind {
                return ControlFlow::Break(());
            }
            if let Some(one) = filter.found(app, number, raw) {
                bytes += one.line.text.len();
                found.push_front(one);
            }
            while found.len() > limit || bytes > ANSWER_BYTES {
                bytes -= found.pop_back().map_or(bytes, |newest: Found| newest.line.text.len());
            }
            ControlFlow::Continue(())
        })?;
        lines.extend(found);
        keep_oldest(&mut lines, limit);
    }
    Ok(lines)
}

fn keep_oldest(lines: &mut Vec<Found>, limit: usize) {
    lines.sort_by(|a, b| a.id.cmp(&b.id));
    lines.truncate(limit);
    let mut bytes = 0;
    let kept = lines.iter().take_while(|found| {
        bytes += found.line.text.len();
        bytes <= ANSWER_BYTES
    });
    let kept = kept.count();
    lines.truncate(kept);
}

/// Where each log is read on from behind a mark. Blocking.
pub(super) fn behind(ends: Vec<End>, mark: &Mark) -> Result<BTreeMap<AppName, Position>, LogError> {
    let mut positions = BTreeMap::new();
    for (app, segments, end) in ends {
        let next = match &mark.next {
            _ if app == mark.last.app => Some(mark.last.number + 1),
            Some(next) => next.get(&app).copied(),
            None => {
                let mut next = None;
                segments.backwards(end, None, |number, raw| match RawLine::parse(raw) {
                    Some(raw) if id_of(&app, number, &raw) <= mark.last => {
                        next = Some(number + 1);
                        ControlFlow::Break(())
                    }
                    _ => ControlFlow::Continue(()),
                })?;
                next
            }
        };
        let position = match next {
            Some(line) => segments.at_line(line)?,
            None => segments.beginning(),
        };
        positions.insert(app, position);
    }
    Ok(positions)
}

/// A line, if it is kept. Blocking.
fn line_of(ends: &[End], id: &LineId) -> Result<Option<Found>, LogError> {
    let Some((app, segments, end)) = ends.iter().find(|(app, _, _)| *app == id.app) else {
        return Ok(None);
    };
    let mut line = None;
    segments.backwards(*end, None, |number, raw| {
        if number > id.number {
            return ControlFlow::Continue(());
        }
        let raw = RawLine::parse(raw).filter(|raw| id_of(app, number, raw) == *id);
        line = raw.and_then(|raw| raw.read(app));
        ControlFlow::Break(())
    })?;
    Ok(line.map(|line| Found { id: id.clone(), line }))
}

fn id_of(app: &AppName, number: u64, raw: &RawLine<'_>) -> LineId {
    LineId {
        order_ms: raw.order_ms(),
        app: app.clone(),
        number,
    }
}

impl Filter {
    /// The line with its identity, if it is wanted.
    pub(super) fn found(&self, app: &AppName, number: u64, line: &[u8]) -> Option<Found> {
        let (raw, line) = self.read(app, line)?;
        Some(Found {
            id: id_of(app, number, &raw),
            line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_sort_as_text_as_they_do() {
        let id = |order_ms, app: &str, number| LineId {
            order_ms,
            app: AppName::new(app).unwrap(),
            number,
        };
        let mut ids = vec![
            id(1_700_000_000_000, "a", 0),
            id(1_700_000_000_000, "a", 10),
            id(1_700_000_000_000, "a", 9),
            id(1_700_000_000_000, "a-b", 0),
            id(1_700_000_000_000, "a-0", 0),
            id(1_700_000_000_000, "a0", 0),
            id(999, "z", 7),
        ];
        ids.sort();
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        let read: Vec<LineId> = texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(read, ids);
        for wrong in [
            "",
            "1",
            "1,a",
            "1,A B,2",
            "-1,a,2",
            "1,a,-2",
            "1,a,2,3",
            "99999999999999999999,a,1",
            "+1,a,2",
        ] {
            assert!(wrong.parse::<LineId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn marks_are_read_as_they_are_written() {
        let last: LineId = "001700000000000,shop,000000000000007".parse().unwrap();
        let app = |name: &str| AppName::new(name).unwrap();
        let none = Mark::from(last.clone());
        assert_eq!(none.to_string(), last.to_string());
        let mut marks = vec![none];
        for others in [vec![], vec![(app("data"), 0), (app("worker"), 12)]] {
            marks.push(Mark {
                last: last.clone(),
                next: Some(others.into_iter().collect()),
            });
        }
        for mark in marks {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        for wrong in [
            ";",
            "1,a;",
            "001700000000000,shop,1;x",
            "001700000000000,shop,1;A:1",
            "001700000000000,shop,1;a:-1",
        ] {
            assert!(wrong.parse::<Mark>().is_err(), "{wrong}");
        }
    }
}
