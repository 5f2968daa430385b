//! Turns at checking passwords, which is meant to be slow: few at a time in all, one at a time for
//! each environment, and whose turn it is goes round among the environments. So one whose hashes are
//! costly, or that is flooded with wrong passwords, hardly delays others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use weir_model::EnvironmentId;

/// How many go on at once in all.
const AT_ONCE: usize = 2;
/// How many of one environment wait.
const WAITING_EACH: usize = 16;
/// So many wait in all; beyond that only those wait whose environment has nobody waiting yet, up to
/// the second number.
const WAITING: usize = 256;
const MOST_WAITING: usize = 4 * WAITING;

/// Who is at it, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    at_it: usize,
    waiting: usize,
    /// Those that have somebody at it, or waiting.
    environments: HashMap<EnvironmentId, Queue>,
    /// Those of whom somebody waits and nobody is at it, in the order of their turns.
    next: VecDeque<EnvironmentId>,
}

#[derive(Debug, Default)]
struct Queue {
    at_it: bool,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    /// None where nobody took it.
    turns: Option<Arc<Turns>>,
    environment: EnvironmentId,
}

impl Turns {
    /// Waits for a turn; none if too many wait already.
    pub(crate) async fn take(self: &Arc<Self>, environment: EnvironmentId) -> Option<Turn> {
        let turn = {
            let mut line = self.lock();
            let free = line.at_it < AT_ONCE;
            let in_all = line.waiting;
            let queue = line.environments.entry(environment).or_default();
            if free && !queue.at_it && queue.waiting.is_empty() {
                queue.at_it = true;
                line.at_it += 1;
                return Some(Turn {
                    turns: Some(Arc::clone(self)),
                    environment,
                });
            }
            let given_up = queue.waiting.len();
            queue.waiting.retain(|waiting| !waiting.is_closed());
            let given_up = given_up - queue.waiting.len();
            let most = if queue.waiting.is_empty() {
                MOST_WAITING
            } else {
                WAITING
            };
            let is_full = queue.waiting.len() >= WAITING_EACH || in_all - given_up >= most;
            let (sender, receiver) = oneshot::channel();
            if !is_full {
                if queue.waiting.is_empty() && !queue.at_it && given_up == 0 {
                    line.next.push_back(environment);
                }
                if let Some(queue) = line.environments.get_mut(&environment) {
                    queue.waiting.push_back(sender);
                }
                line.waiting += 1;
            }
            line.waiting -= given_up;
            if is_full {
                line.forget_if_idle(environment);
                return None;
            }
            receiver
        };
        turn.await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has had a turn; the next ones get theirs.
    fn over(self: &Arc<Self>, environment: EnvironmentId) {
        let mut line = self.lock();
        line.at_it -= 1;
        if let Some(queue) = line.environments.get_mut(&environment) {
            queue.at_it = false;
            match queue.waiting.is_empty() {
                true => drop(line.environments.remove(&environment)),
                false => line.next.push_back(environment),
            }
        }
        while line.at_it < AT_ONCE
            && let Some(environment) = line.next.pop_front()
        {
            line.call(self, environment);
        }
    }
}

impl Line {
    fn forget_if_idle(&mut self, environment: EnvironmentId) {
        let is_idle = |queue: &Queue| !queue.at_it && queue.waiting.is_empty();
        if self.environments.get(&environment).is_some_and(is_idle) {
            self.environments.remove(&environment);
        }
    }

    /// Gives the turn to the first of an environment who still waits.
    fn call(&mut self, turns: &Arc<Turns>, environment: EnvironmentId) {
        let queue = self.environments.get_mut(&environment);
        let Some(queue) = queue.filter(|queue| !queue.at_it) else {
            return;
        };
        while let Some(waiting) = queue.waiting.pop_front() {
            self.waiting -= 1;
            queue.at_it = true;
            self.at_it += 1;
            let turn = Turn {
                turns: Some(Arc::clone(turns)),
                environment,
            };
            if let Err(mut turn) = waiting.send(turn) {
                // Whoever waited has gone. To give it back needs the lock that is held here.
                turn.turns = None;
                queue.at_it = false;
                self.at_it -= 1;
                continue;
            }
            return;
        }
        self.environments.remove(&environment);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.over(self.environment);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn environment(number: u128) -> EnvironmentId {
        EnvironmentId::from_parts(1, number)
    }

    type Waits = Pin<Box<dyn Future<Output = Option<Turn>>>>;

    fn ask(turns: &Arc<Turns>, number: u128) -> Waits {
        let turns = Arc::clone(turns);
        let mut waits: Waits = Box::pin(async move { turns.take(environment(number)).await });
        // It is in the line once it was looked at.
        match poll(&mut waits) {
            Poll::Ready(turn) => Box::pin(std::future::ready(turn)),
            Poll::Pending => waits,
        }
    }

    fn poll(waits: &mut Waits) -> Poll<Option<Turn>> {
        waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn taken(waits: &mut Waits) -> Option<Turn> {
        match poll(waits) {
            Poll::Ready(turn) => turn,
            Poll::Pending => None,
        }
    }

    #[test]
    fn one_that_floods_the_line_delays_others_by_one_turn() {
        let turns = Arc::new(Turns::default());
        let mut flood: Vec<Waits> = (0..WAITING_EACH + 1).map(|_| ask(&turns, 1)).collect();
        let first = taken(&mut flood[0]).unwrap();
        assert!(poll(&mut flood[1]).is_pending(), "the other place is for others");
        let Poll::Ready(None) = poll(&mut ask(&turns, 1)) else {
            panic!("more of one environment than may wait")
        };
        let second = taken(&mut ask(&turns, 2)).expect("a place is free for somebody else");
        let mut third = ask(&turns, 3);
        assert!(poll(&mut third).is_pending());
        drop(first);
        let third = taken(&mut third).expect("its turn comes before the rest of the flood");
        drop(second);
        let next = taken(&mut flood[1]).unwrap();
        assert!(poll(&mut flood[2]).is_pending());
        drop((third, next));
        assert!(taken(&mut flood[2]).is_some());
    }

    #[test]
    fn who_goes_away_leaves_no_gap_and_no_memory() {
        let turns = Arc::new(Turns::default());
        let mut first = ask(&turns, 1);
        let turn = taken(&mut first).unwrap();
        let gone: Vec<Waits> = (0..WAITING_EACH).map(|_| ask(&turns, 1)).collect();
        drop(gone);
        let mut again: Vec<Waits> = (0..WAITING_EACH).map(|_| ask(&turns, 1)).collect();
        drop(again.remove(0));
        drop(turn);
        let turn = taken(&mut again[0]).expect("those who are gone are passed over");
        drop(again);
        drop(turn);
        let line = turns.lock();
        assert_eq!(
            (line.at_it, line.waiting, line.environments.len(), line.next.len()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn many_who_wait_leave_room_for_those_who_have_nobody_waiting() {
        let turns = Arc::new(Turns::default());
        let waits: Vec<Waits> = (0..20)
            .flat_map(|number| vec![number; WAITING_EACH + 1])
            .map(|number| ask(&turns, number))
            .collect();
        assert_eq!(turns.lock().waiting, WAITING + 4, "of the last four one each");
        let mut newcomer = ask(&turns, 99);
        assert!(poll(&mut newcomer).is_pending());
        let Poll::Ready(None) = poll(&mut ask(&turns, 99)) else {
            panic!("one of them is enough")
        };
        drop((waits, newcomer));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn everybody_gets_a_turn_in_the_end() {
        let turns = Arc::new(Turns::default());
        let at_it = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let tasks: Vec<_> = (0..120)
            .map(|number| {
                let (turns, at_it) = (Arc::clone(&turns), Arc::clone(&at_it));
                tokio::spawn(async move {
                    let turn = turns.take(environment(number % 10)).await.unwrap();
                    assert!(at_it.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < AT_ONCE);
                    tokio::task::yield_now().await;
                    at_it.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(turn);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(turns.lock().environments.len(), 0);
    }
}
