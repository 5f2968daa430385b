//! The ledger's side of the model: what it knows durably of one meter, and how it answers.
//!
//! What the ledger keeps in memory only (reports not yet written, the clock) is left out: writing
//! a report later is the same as receiving it later, which the network does anyhow. So a restart
//! of the ledger at any point is a lost answer, and needs no step of its own.

use std::collections::BTreeMap;

use crate::Mutant;
use crate::words::{Answer, LeaseTotals, Question, Says};

/// The boot of a fenced incarnation: nobody's.
pub(crate) const NOBODY: u8 = u8::MAX;

/// What the ledger durably knows of one meter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Book {
    /// The newest incarnation that spoke; 0 if none did.
    pub(crate) incarnation: u8,
    /// The process that speaks for it.
    pub(crate) boot: u8,
    /// Leases of this incarnation by number.
    pub(crate) leases: BTreeMap<u8, Lease>,
    /// Counted for leases of older incarnations.
    pub(crate) spent: u8,
    /// Given back on leases of older incarnations; only for the properties.
    pub(crate) returned_before: bool,
}

/// One lease in the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lease {
    pub(crate) granted: u8,
    pub(crate) returned: u8,
    pub(crate) settled: u8,
    pub(crate) closed: bool,
}

impl Lease {
    /// What is neither given back nor settled: held while the lease is open.
    fn rest(self) -> u8 {
        self.granted - self.returned - self.settled
    }

    fn settle(&mut self, used: u8) {
        self.settled = self.settled.max(used.min(self.granted - self.returned));
    }

    fn give_back(&mut self, returned: u8) {
        self.returned = self.returned.max(returned.min(self.granted - self.settled));
    }
}

impl Book {
    /// `S`: what counts as spent.
    pub(crate) fn settled(&self) -> u8 {
        self.spent + self.leases.values().map(|lease| lease.settled).sum::<u8>()
    }

    /// `H`: what is held ahead.
    pub(crate) fn held(&self) -> u8 {
        let open = self.leases.values().filter(|lease| !lease.closed);
        open.map(|lease| lease.rest()).sum()
    }

    /// Whether money that was granted came back unspent.
    pub(crate) fn got_money_back(&self) -> bool {
        self.returned_before || self.leases.values().any(|lease| lease.returned > 0)
    }

    /// Takes a question in and answers it; `grant` is what policy would grant, if anything is to
    /// be granted at all. The caller has checked that it fits below the limit.
    pub(crate) fn receive(&mut self, question: &Question, grant: u8, mutant: Option<Mutant>) -> Vec<Answer> {
        let answer = |says| Answer {
            boot: question.boot,
            incarnation: question.incarnation,
            says,
        };
        let mut answers = Vec::new();
        if !self.is_current(question, mutant) {
            answers.push(answer(Says::Superseded {
                next: self.incarnation + 1,
            }));
            // A ledger that tells the leases all the same relies on every meter to give way.
            if mutant != Some(Mutant::SupersededGoesOn) || question.incarnation != self.incarnation {
                return answers;
            }
        }
        if question.incarnation > self.incarnation {
            self.close_older(question, mutant);
            self.incarnation = question.incarnation;
            self.boot = question.boot;
        }
        for told in &question.leases {
            let lease = self.leases.entry(told.number).or_default();
            if lease.closed {
                continue;
            }
            lease.give_back(told.returned);
            match mutant {
                Some(Mutant::DeltaReports) => lease.settle(lease.settled + told.used),
                _ => lease.settle(told.used),
            }
            if told.closed {
                lease.closed = true;
            } else if told.granted == lease.granted {
                lease.granted += grant;
            }
        }
        for told in &question.leases {
            let lease = self.leases.get(&told.number).copied().unwrap_or_default();
            answers.push(answer(Says::Lease {
                number: told.number,
                granted: match mutant {
                    Some(Mutant::DifferencesInAnswers) => grant,
                    _ => lease.granted,
                },
                closed: lease.closed,
            }));
        }
        answers
    }

    /// Whether the process that asks is the newest start of its meter.
    pub(crate) fn is_current(&self, question: &Question, mutant: Option<Mutant>) -> bool {
        let same_boot = question.boot == self.boot || mutant == Some(Mutant::BootIsNotLookedAt);
        question.incarnation > self.incarnation
            || (question.incarnation == self.incarnation && question.incarnation > 0 && same_boot)
    }

    /// Whether a question changes nothing, neither now nor later: all that it tells is known, and
    /// more was granted since it was asked.
    pub(crate) fn knows(&self, question: &Question) -> bool {
        let known = |lease: &Lease, told: &LeaseTotals| {
            let told_all = told.used <= lease.settled && told.returned <= lease.returned;
            lease.closed || (told_all && !told.closed && told.granted < lease.granted)
        };
        let mut leases = question.leases.iter();
        question.incarnation == self.incarnation
            && leases.all(|told| self.leases.get(&told.number).is_some_and(|lease| known(lease, told)))
    }

    /// Whether a question may be granted something: it comes from the current process, which
    /// knows all that was granted to it.
    pub(crate) fn may_grant(&self, question: &Question) -> bool {
        let Some(told) = question.leases.iter().find(|told| !told.closed) else {
            return false;
        };
        if question.incarnation > self.incarnation {
            return told.granted == 0;
        }
        let lease = self.leases.get(&told.number).copied().unwrap_or_default();
        question.incarnation == self.incarnation && lease.granted == told.granted && !lease.closed
    }

    /// The node is proven off (or only believed to be): all that it holds counts as spent.
    pub(crate) fn fence(&mut self, mutant: Option<Mutant>) {
        for lease in self.leases.values_mut().filter(|lease| !lease.closed) {
            if mutant != Some(Mutant::FenceAtReported) {
                lease.settled = lease.granted - lease.returned;
            }
            lease.closed = true;
        }
        self.boot = NOBODY;
    }

    /// The mutant that a clock frees money.
    pub(crate) fn expire(&mut self) {
        for lease in self.leases.values_mut() {
            lease.closed = true;
        }
    }

    /// A newer incarnation has spoken: leases of older ones end at the logged mark if it lists
    /// them, else in full.
    fn close_older(&mut self, question: &Question, mutant: Option<Mutant>) {
        for (number, mut lease) in std::mem::take(&mut self.leases) {
            if !lease.closed {
                let listed = question
                    .closings
                    .iter()
                    .find(|closing| (closing.incarnation, closing.number) == (self.incarnation, number));
                match listed {
                    Some(closing) => {
                        lease.give_back(closing.returned);
                        lease.settle(closing.drawn);
                    }
                    None if mutant == Some(Mutant::UnlistedAtReported) => {}
                    None => lease.settled = lease.granted - lease.returned,
                }
            }
            self.spent += lease.settled;
            self.returned_before |= lease.returned > 0;
        }
    }
}
