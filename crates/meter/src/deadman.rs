//! Freezes what nobody pays for any more because the one who paid has died.
//!
//! The process that pays tells another one, every half second over a datagram socket, where each
//! instance that runs can be frozen ([`Line`]). When that stops, the other one ([`watch`]) freezes
//! them all. It needs neither the ledger nor the engine for that, and holds no money: what an
//! instance uses until it stands still is in its tail.
//!
//! What it refuses: to freeze at a place that is not the control group of a container, and to
//! freeze because of a clean end, which is told by a goodbye. What it froze stands in a file, so
//! that the next process that pays can let it run again.
//!
//! Time is that of the monotonic clock: while a machine sleeps nothing is used, and when it
//! wakes up nobody is late.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_engine::{FreezePoint, Meters};
use weir_model::InstanceId;

/// How often to renew.
pub const RENEW: Duration = Duration::from_millis(500);
/// What is not renewed for so long is frozen.
pub const DEADLINE: Duration = Duration::from_millis(2_000);
/// Instances a datagram; about 200 bytes each.
const POINTS_PER_PART: usize = 100;
/// Largest datagram.
const PART_BYTES: usize = 64 << 10;
/// Pause between two attempts to freeze what could not be frozen.
const RETRY: Duration = Duration::from_millis(200);
/// So many are frozen at once.
const AT_ONCE: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// These instances are paid for. A round of several parts counts once all of them are there.
    Renew {
        round: u64,
        part: usize,
        parts: usize,
        points: Vec<FreezePoint>,
        /// Who pays has only begun and does not know all instances yet: what it does not name is
        /// to be watched as before.
        #[serde(default)]
        beginning: bool,
    },
    /// The one who pays ends on purpose: let everything run.
    Goodbye,
}

/// The paying side: tells what is to be frozen if nobody tells it again.
#[derive(Debug)]
pub struct Line {
    socket: Option<UnixDatagram>,
    path: PathBuf,
    round: u64,
    warned: bool,
}

impl Line {
    /// A line to the socket at this path; nobody has to listen there yet.
    pub fn new(path: PathBuf) -> Self {
        let socket = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        Self {
            socket: socket.ok(),
            path,
            round: 0,
            warned: false,
        }
    }

    /// Tells everything that runs and is paid for. Never waits; what cannot be told is told with
    /// the next round.
    pub fn renew(&mut self, points: &[FreezePoint]) {
        self.tell(points, false);
    }

    /// The same of a process that does not know yet all that runs: what the one before it has told
    /// is renewed, too, so that nothing is left that nobody would freeze.
    pub fn begin(&mut self, points: &[FreezePoint]) {
        self.tell(points, true);
    }

    fn tell(&mut self, points: &[FreezePoint], beginning: bool) {
        self.round += 1;
        let parts = points.len().div_ceil(POINTS_PER_PART).max(1);
        for part in 0..parts {
            let mine = points.iter().skip(part * POINTS_PER_PART).take(POINTS_PER_PART);
            let message = Message::Renew {
                round: self.round,
                part,
                parts,
                points: mine.cloned().collect(),
                beginning,
            };
            self.send(&message);
        }
    }

    /// The paying process ends on purpose, and what runs is to go on.
    pub fn goodbye(&mut self) {
        self.send(&Message::Goodbye);
    }

    fn send(&mut self, message: &Message) {
        let sent = self.try_send(message);
        if let Err(error) = &sent
            && !self.warned
        {
            tracing::info!(%error, "nobody listens who would freeze instances if this process died");
        }
        self.warned = sent.is_err();
    }

    fn try_send(&self, message: &Message) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        socket.send_to(&serde_json::to_vec(message)?, &self.path).map(drop)
    }
}

/// What the watching side knows. Pure.
#[derive(Debug, Default)]
struct Watched {
    points: Vec<FreezePoint>,
    /// When they are to be frozen; `None`: never.
    due: Option<Instant>,
    /// Parts of the round that is coming in.
    round: u64,
    parts: BTreeSet<usize>,
    coming: Vec<FreezePoint>,
}

impl Watched {
    fn hear(&mut self, message: Message, now: Instant) {
        let (round, part, parts, points, beginning) = match message {
            Message::Goodbye => {
                *self = Self::default();
                return;
            }
            Message::Renew {
                round,
                part,
                parts,
                points,
                beginning,
            } => (round, part, parts, points, beginning),
        };
        if round != self.round {
            self.round = round;
            self.parts.clear();
            self.coming.clear();
        }
        if self.parts.insert(part) {
            self.coming.extend(points);
        }
        if self.parts.len() >= parts {
            let before = std::mem::replace(&mut self.points, std::mem::take(&mut self.coming));
            if beginning {
                let named: BTreeSet<InstanceId> = self.points.iter().map(|point| point.instance).collect();
                let unnamed = before.into_iter().filter(|point| !named.contains(&point.instance));
                self.points.extend(unnamed);
            }
            self.due = (!self.points.is_empty()).then_some(now + DEADLINE);
        }
    }

    /// What has to be frozen now.
    fn late(&self, now: Instant) -> &[FreezePoint] {
        match self.due {
            Some(due) if now >= due => &self.points,
            _ => &[],
        }
    }
}

/// Freezes what is not renewed, until `stop`; and then still until nothing is left that may have
/// to be frozen, which takes [`DEADLINE`] at most. What it froze is added to `frozen_file`.
///
/// # Errors
/// The socket cannot be listened on.
pub async fn watch(
    socket: &Path,
    frozen_file: &Path,
    meters: Arc<dyn Meters>,
    stop: CancellationToken,
) -> io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = tokio::net::UnixDatagram::bind(socket)?;
    let mut watched = Watched::default();
    let mut buffer = vec![0; PART_BYTES];
    loop {
        if watched.due.is_none() && stop.is_cancelled() {
            return Ok(());
        }
        let due = watched.due;
        tokio::select! {
            // What was said comes before what is due: a process that was stopped for a while
            // must not act on old news.
            biased;
            heard = listener.recv(&mut buffer) => match heard.map(|size| serde_json::from_slice(&buffer[..size])) {
                Ok(Ok(message)) => watched.hear(message, Instant::now()),
                Ok(Err(error)) => tracing::warn!(%error, "what came in over the deadman's socket is not understood"),
                Err(error) => {
                    tracing::warn!(%error, "the deadman's socket cannot be read");
                    tokio::time::sleep(RETRY).await;
                }
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                freeze_late(&mut watched, frozen_file, &meters).await;
            }
            () = stop.cancelled(), if due.is_none() => {}
        }
    }
}

async fn freeze_late(watched: &mut Watched, frozen_file: &Path, meters: &Arc<dyn Meters>) {
    let late = watched.late(Instant::now()).to_vec();
    if late.is_empty() {
        return;
    }
    tracing::warn!(
        instances = late.len(),
        "nobody pays for the instances of this machine any more; freezing them until somebody does"
    );
    // Written first: what is frozen and not in the file would be woken by nobody.
    if let Err(error) = add_frozen(frozen_file, late.iter().map(|point| point.instance)) {
        tracing::warn!(%error, "cannot write down what is frozen; control has to thaw it");
    }
    let mut waiting = late.into_iter();
    let mut working = JoinSet::new();
    let mut left = Vec::new();
    loop {
        while working.len() < AT_ONCE
            && let Some(point) = waiting.next()
        {
            let meters = Arc::clone(meters);
            working.spawn(async move {
                let frozen = meters.freeze_at(&point).await;
                (point, frozen)
            });
        }
        match working.join_next().await {
            None => break,
            Some(Ok((_point, Ok(())))) => {}
            Some(Ok((point, Err(error)))) => {
                tracing::error!(%error, instance.id = %point.instance, "an instance that nobody pays for cannot be frozen");
                left.push(point);
            }
            Some(Err(error)) => tracing::error!(%error, "freezing an instance ended badly"),
        }
    }
    // A round that came in meanwhile is in the socket and is heard next.
    watched.due = (!left.is_empty()).then(|| Instant::now() + RETRY);
    watched.points = left;
}

/// What was frozen by the watching side and not woken since; empty if nothing was.
pub fn read_frozen(file: &Path) -> BTreeSet<InstanceId> {
    std::fs::read(file)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// Nothing in this file has to be woken any more.
pub fn forget_frozen(file: &Path) {
    if let Err(error) = std::fs::remove_file(file)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %file.display(), "cannot remove a file");
    }
}

fn add_frozen(file: &Path, instances: impl Iterator<Item = InstanceId>) -> io::Result<()> {
    let mut all = read_frozen(file);
    all.extend(instances);
    let temporary = file.with_extension("tmp");
    std::fs::write(&temporary, serde_json::to_vec(&all)?)?;
    std::fs::rename(&temporary, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(numbers: std::ops::Range<u128>) -> Vec<FreezePoint> {
        numbers
            .map(|number| FreezePoint {
                instance: InstanceId::from_parts(1, number),
                folder: PathBuf::from("/simulated"),
            })
            .collect()
    }

    fn renew(round: u64, part: usize, parts: usize, points: Vec<FreezePoint>) -> Message {
        Message::Renew {
            round,
            part,
            parts,
            points,
            beginning: false,
        }
    }

    #[tokio::test]
    async fn who_has_only_begun_to_pay_takes_nothing_off_the_list() {
        let (mut watched, start) = (Watched::default(), Instant::now());
        watched.hear(renew(1, 0, 1, points(0..3)), start);
        let begun = |round, points| Message::Renew {
            round,
            part: 0,
            parts: 1,
            points,
            beginning: true,
        };
        watched.hear(begun(1, Vec::new()), start + RENEW);
        assert!(watched.late(start + DEADLINE).is_empty(), "it is renewed");
        assert_eq!(watched.late(start + RENEW + DEADLINE), points(0..3));
        watched.hear(begun(2, points(2..4)), start + RENEW);
        assert_eq!(watched.late(start + RENEW + DEADLINE).len(), 4);
        watched.hear(renew(3, 0, 1, points(2..4)), start + RENEW);
        assert_eq!(watched.late(start + RENEW + DEADLINE), points(2..4));
        // As older programs say it.
        let old = r#"{"renew":{"round":9,"part":0,"parts":1,"points":[]}}"#;
        watched.hear(serde_json::from_str(old).unwrap(), start);
        assert!(watched.due.is_none());
    }

    #[tokio::test]
    async fn what_is_not_renewed_is_late_and_a_goodbye_is_the_end() {
        let (mut watched, start) = (Watched::default(), Instant::now());
        watched.hear(renew(1, 0, 1, points(0..3)), start);
        assert!(watched.late(start + DEADLINE - RETRY).is_empty());
        watched.hear(renew(2, 0, 1, points(0..2)), start + RENEW);
        assert!(watched.late(start + DEADLINE).is_empty());
        assert_eq!(watched.late(start + RENEW + DEADLINE), points(0..2));
        watched.hear(Message::Goodbye, start + RENEW);
        assert!(watched.late(start + RENEW + DEADLINE).is_empty());
    }

    #[tokio::test]
    async fn a_round_counts_once_all_of_it_is_there() {
        let (mut watched, start) = (Watched::default(), Instant::now());
        watched.hear(renew(1, 0, 1, points(0..3)), start);
        watched.hear(renew(2, 0, 2, points(0..1)), start + RENEW);
        watched.hear(renew(2, 0, 2, points(0..1)), start + RENEW);
        watched.hear(renew(3, 1, 2, points(5..6)), start + RENEW);
        assert_eq!(watched.late(start + DEADLINE), points(0..3));
        watched.hear(renew(3, 0, 2, points(4..5)), start + RENEW);
        assert_eq!(watched.late(start + RENEW + DEADLINE).len(), 2);
    }
}
