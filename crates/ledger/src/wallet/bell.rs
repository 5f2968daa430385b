//! How those who draw call the one who refills. Ringing twice is ringing once, and only the first
//! time costs a lock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use weir_model::EnvironmentId;

use super::lock;

/// Collects the bells of all wallets; answered by one refiller.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    state: Mutex<Calls>,
    /// Whether somebody answers.
    attended: AtomicBool,
}

#[derive(Debug, Default)]
struct Calls {
    ringing: Vec<EnvironmentId>,
    refiller: Option<Waker>,
}

/// The bell of one wallet.
#[derive(Debug)]
pub(crate) struct Bell {
    environment: EnvironmentId,
    rung: AtomicBool,
    /// Somebody waits for money to be put back or poured.
    awaited: AtomicBool,
    switchboard: Arc<Switchboard>,
}

impl Switchboard {
    /// Who rang since it was last asked.
    pub(crate) fn take_calls(&self) -> Vec<EnvironmentId> {
        std::mem::take(&mut lock(&self.state).ringing)
    }

    /// Ready as soon as somebody rings.
    pub(crate) fn poll_ring(&self, context: &Context<'_>) -> Poll<()> {
        let mut calls = lock(&self.state);
        if calls.ringing.is_empty() {
            calls.refiller = Some(context.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    pub(crate) fn attend(&self, attended: bool) {
        self.attended.store(attended, Ordering::SeqCst);
    }

    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::SeqCst)
    }
}

impl Bell {
    pub(crate) fn new(environment: EnvironmentId, switchboard: Arc<Switchboard>) -> Self {
        Self {
            environment,
            rung: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            switchboard,
        }
    }

    /// Calls the refiller, once until it has looked.
    pub(crate) fn ring(&self) {
        // A look first, so that a wallet that rings already costs no write.
        if self.rung.load(Ordering::SeqCst) || self.rung.swap(true, Ordering::SeqCst) {
            return;
        }
        let refiller = {
            let mut calls = lock(&self.switchboard.state);
            calls.ringing.push(self.environment);
            calls.refiller.take()
        };
        if let Some(refiller) = refiller {
            refiller.wake();
        }
    }

    pub(crate) fn ring_if_awaited(&self) {
        if self.awaited.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    pub(crate) fn set_awaited(&self, awaited: bool) {
        self.awaited.store(awaited, Ordering::SeqCst);
    }

    /// The refiller is about to look: from here on ringing calls again.
    pub(crate) fn quiet(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_attended(&self) -> bool {
        self.switchboard.is_attended()
    }
}
