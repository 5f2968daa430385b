//! Walking through all lines that match, oldest first, however many there are: for those who take a
//! log along.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::Stream;

use super::find::{End, Found, LineId};
use super::{Filter, LogError, LogQuery, Logs, Shared, blocking};

/// Most lines of a page.
const PAGE: usize = 4_000;

/// Which of the lines that match are taken along.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// Only behind this line.
    pub after: Option<LineId>,
    /// Only before this line.
    pub before: Option<LineId>,
    /// So many of the newest.
    pub limit: u64,
}

/// One log of those that are walked through.
struct Head {
    end: End,
    position: super::segments::Position,
    ready: VecDeque<Found>,
    over: bool,
}

/// Where somebody is who walks.
struct Walk {
    heads: Vec<Head>,
    filter: Filter,
    range: Range,
}

impl Logs {
    /// All lines that match and are in the range, oldest first, in pages. What is written meanwhile
    /// is not among them. Ends early, with an error in Weir's own log, if the files fail.
    pub fn walk(
        &self,
        query: LogQuery,
        range: Range,
    ) -> impl Stream<Item = Result<Vec<Found>, LogError>> + Send + use<> {
        let shared = self.shared.clone();
        futures_util::stream::try_unfold(None, move |walk: Option<(Walk, u64)>| {
            let (shared, query, range) = (shared.clone(), query.clone(), range.clone());
            async move {
                // Reading along is work, and whoever does it by the dozen must not keep others out.
                let turns = Arc::clone(&shared.walks);
                let turn = turns.acquire_owned().await.map_err(|_| LogError::Closed)?;
                blocking(move || {
                    // Also while nobody waits for the page any more.
                    let _turn = turn;
                    let (mut walk, mut passed_over) = match walk {
                        Some(walk) => walk,
                        None => begin(&shared, &query, range)?,
                    };
                    loop {
                        let mut page = walk.page()?;
                        if page.is_empty() {
                            return Ok(None);
                        }
                        let over = usize::try_from(passed_over).unwrap_or(usize::MAX).min(page.len());
                        page.drain(..over);
                        passed_over -= u64::try_from(over).unwrap_or(0);
                        if !page.is_empty() {
                            return Ok(Some((page, Some((walk, passed_over)))));
                        }
                    }
                })
                .await
            }
        })
    }
}

/// A walk, and how many lines are to be passed over, because newer ones are enough. Blocking.
fn begin(shared: &Shared, query: &LogQuery, range: Range) -> Result<(Walk, u64), LogError> {
    let ends = shared.environment(query.environment)?.ends(query);
    let walk = || Walk {
        heads: ends.iter().map(Head::of).collect(),
        filter: Filter::new(query),
        range: range.clone(),
    };
    let (mut counting, mut count) = (walk(), 0_u64);
    loop {
        match counting.page()?.len() {
            0 => break,
            lines => count += u64::try_from(lines).unwrap_or(u64::MAX),
        }
    }
    Ok((walk(), count.saturating_sub(range.limit)))
}

impl Head {
    fn of(end: &End) -> Self {
        let (app, segments, position) = end;
        Self {
            end: (app.clone(), Arc::clone(segments), *position),
            position: super::segments::Position::default(),
            ready: VecDeque::new(),
            over: false,
        }
    }

    /// Reads on until something is ready or the end is reached. Blocking.
    fn fill(&mut self, filter: &Filter, range: &Range) -> Result<(), LogError> {
        let (app, segments, end) = &self.end;
        while self.ready.is_empty() && !self.over {
            let page = segments.forwards(self.position)?;
            let moved = page.next != self.position;
            self.position = page.next;
            let numbers = page.first_line()..end.line();
            let found = page.bytes.split(|&byte| byte == b'\n').zip(numbers);
            let found = found.filter_map(|(line, number)| filter.found(app, number, line));
            self.ready.extend(found.filter(|found| range.covers(&found.id)));
            self.over = !moved || page.next.line() >= end.line();
        }
        Ok(())
    }
}

impl Range {
    fn covers(&self, id: &LineId) -> bool {
        self.after.as_ref().is_none_or(|after| id > after) && self.before.as_ref().is_none_or(|before| id < before)
    }
}

impl Walk {
    /// The next lines; none at the end. Blocking.
    fn page(&mut self) -> Result<Vec<Found>, LogError> {
        let mut page = Vec::new();
        while page.len() < PAGE {
            for head in &mut self.heads {
                head.fill(&self.filter, &self.range)?;
            }
            let heads = self.heads.iter_mut().filter(|head| !head.ready.is_empty());
            let Some(oldest) = heads.min_by(|a, b| a.ready[0].id.cmp(&b.ready[0].id)) else {
                break;
            };
            page.extend(oldest.ready.pop_front());
        }
        Ok(page)
    }
}
