//! The meter's side of the model: a process that may die between any two steps, and its disk.

use crate::Mutant;
use crate::words::{Answer, Closing, LeaseTotals, Question, Says};

/// One machine that speaks for a meter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Machine {
    pub(crate) disk: Disk,
    pub(crate) process: Option<Process>,
}

/// The log, as durable as a disk is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Disk {
    /// The newest incarnation that was begun; 0 if the log is lost.
    pub(crate) incarnation: u8,
    pub(crate) leases: Vec<Logged>,
}

/// A lease in the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Logged {
    pub(crate) incarnation: u8,
    pub(crate) number: u8,
    pub(crate) granted: u8,
    pub(crate) returned: u8,
    /// Up to here it may have been drawn.
    pub(crate) mark: u8,
    /// Never to be drawn again; written before it is said.
    pub(crate) closed: bool,
}

/// What dies with the process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process {
    pub(crate) boot: u8,
    /// Whether it speaks to the ledger. Before, it goes on with the leases of the incarnation
    /// before it; from then on those are over.
    pub(crate) speaks: bool,
    /// Work begun and work finished, for each lease of the disk.
    pub(crate) work: Vec<Work>,
    /// What a meter with the fault [`Mutant::SaidBeforeLogged`] has said, but not yet logged.
    pub(crate) unlogged_returns: u8,
}

/// Work on one lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Work {
    pub(crate) drawn: u8,
    pub(crate) used: u8,
    /// Told in an earlier report; for [`Mutant::DeltaReports`].
    pub(crate) told: u8,
}

impl Machine {
    /// Starts a process. It goes on with what its log holds until the ledger is in reach.
    pub(crate) fn start(&mut self, boot: u8) {
        let resume = |lease: &Logged| Work {
            drawn: lease.mark,
            ..Work::default()
        };
        self.process = Some(Process {
            boot,
            speaks: false,
            work: self.disk.leases.iter().map(resume).collect(),
            unlogged_returns: 0,
        });
    }

    /// The ledger has answered the knock: a new incarnation begins, and what older ones held is
    /// over. Both are durable before they are said.
    fn begin(&mut self, next: u8, mutant: Option<Mutant>) {
        self.disk.incarnation = next.max(self.disk.incarnation + 1);
        if mutant != Some(Mutant::ClosingSaidBeforeLogged) {
            self.disk.leases.iter_mut().for_each(|lease| lease.closed = true);
        }
        self.open();
        if let Some(process) = &mut self.process {
            process.speaks = true;
        }
    }

    /// Another has taken its place: it stops drawing at once, and knocks anew.
    fn give_way(&mut self) {
        self.disk.leases.iter_mut().for_each(|lease| lease.closed = true);
        if let Some(process) = &mut self.process {
            process.speaks = false;
        }
    }

    /// Opens the next lease of this incarnation.
    fn open(&mut self) {
        let incarnation = self.disk.incarnation;
        let earlier = self.disk.leases.iter().filter(|lease| lease.incarnation == incarnation);
        let number = earlier.map(|lease| lease.number).max().unwrap_or(0) + 1;
        self.disk.leases.push(Logged {
            incarnation,
            number,
            granted: 0,
            returned: 0,
            mark: 0,
            closed: false,
        });
        if let Some(process) = &mut self.process {
            process.work.push(Work::default());
        }
    }

    /// Which leases the process may draw: those of this incarnation; before it has spoken to the
    /// ledger, those of the ones before.
    pub(crate) fn drawable(&self) -> Vec<usize> {
        let Some(process) = &self.process else {
            return Vec::new();
        };
        let wanted = |lease: &Logged| !lease.closed && (lease.incarnation == self.disk.incarnation || !process.speaks);
        let leases = self.disk.leases.iter().enumerate();
        leases
            .filter(|(_, lease)| wanted(lease))
            .map(|(index, _)| index)
            .collect()
    }

    /// How far a lease may be drawn at most.
    pub(crate) fn ceiling(&self, index: usize, mutant: Option<Mutant>) -> u8 {
        let lease = &self.disk.leases[index];
        match mutant {
            Some(Mutant::ReturnedIsDrawnAgain) => lease.granted,
            _ => lease.granted - lease.returned,
        }
    }

    /// What the process would say to the ledger now.
    pub(crate) fn question(&mut self, mutant: Option<Mutant>) -> Option<Question> {
        let process = self.process.as_mut()?;
        let incarnation = if process.speaks { self.disk.incarnation } else { 0 };
        let mut question = Question {
            incarnation,
            boot: process.boot,
            closings: Vec::new(),
            leases: Vec::new(),
        };
        if !process.speaks {
            return Some(question);
        }
        for (lease, work) in self.disk.leases.iter().zip(&mut process.work) {
            if lease.incarnation == incarnation {
                let used = match mutant {
                    Some(Mutant::DeltaReports) => work.used - std::mem::replace(&mut work.told, work.used),
                    _ => work.used,
                };
                question.leases.push(LeaseTotals {
                    number: lease.number,
                    granted: lease.granted,
                    returned: lease.returned + process.unlogged_returns,
                    used,
                    closed: lease.closed,
                });
            } else if lease.granted > 0 || mutant == Some(Mutant::ClosingOfAnother) {
                // Without a grant it may be the lease of another process of the same name.
                question.closings.push(Closing {
                    incarnation: lease.incarnation,
                    number: lease.number,
                    drawn: lease.mark,
                    returned: lease.returned,
                });
            }
        }
        Some(question)
    }

    /// Hears an answer; drops what is not for this process and this incarnation.
    pub(crate) fn hear(&mut self, answer: Answer, mutant: Option<Mutant>) {
        if !self.is_for(answer, mutant) {
            return;
        }
        match answer.says {
            Says::Superseded { next } if answer.incarnation == 0 => self.begin(next, mutant),
            Says::Superseded { .. } if mutant == Some(Mutant::SupersededGoesOn) => {}
            Says::Superseded { .. } => self.give_way(),
            Says::Lease {
                number,
                granted,
                closed,
            } => self.take(number, granted, closed, mutant),
        }
    }

    fn is_for(&self, answer: Answer, mutant: Option<Mutant>) -> bool {
        let Some(process) = &self.process else {
            return false;
        };
        let incarnation = if process.speaks { self.disk.incarnation } else { 0 };
        match mutant {
            Some(Mutant::OlderIncarnationsGrant) if process.speaks => {
                matches!(answer.says, Says::Lease { .. }) || answer.boot == process.boot
            }
            Some(Mutant::AnswerToAnother) => answer.incarnation == incarnation,
            _ => answer.incarnation == incarnation && answer.boot == process.boot,
        }
    }

    /// Whether an answer changes nothing, neither now nor later.
    pub(crate) fn knows(&self, answer: Answer) -> bool {
        let Some(process) = self.process.as_ref().filter(|process| process.boot == answer.boot) else {
            return true;
        };
        match answer.says {
            // The same process may knock again.
            _ if answer.incarnation == 0 => false,
            _ if !process.speaks || answer.incarnation != self.disk.incarnation => true,
            Says::Superseded { .. } => false,
            Says::Lease {
                number,
                granted,
                closed,
            } => {
                let mut leases = self.disk.leases.iter();
                let closings_taken = leases.clone().all(|lease| lease.incarnation == answer.incarnation);
                let lease = leases.find(|lease| (lease.incarnation, lease.number) == (answer.incarnation, number));
                closings_taken && lease.is_none_or(|lease| granted <= lease.granted && (lease.closed || !closed))
            }
        }
    }

    fn take(&mut self, number: u8, granted: u8, closed: bool, mutant: Option<Mutant>) {
        let incarnation = self.disk.incarnation;
        let mut leases = self.disk.leases.iter_mut();
        if let Some(lease) = leases.find(|lease| (lease.incarnation, lease.number) == (incarnation, number)) {
            lease.granted = match mutant {
                Some(Mutant::DifferencesInAnswers) => lease.granted + granted,
                _ => lease.granted.max(granted),
            };
            lease.closed |= closed;
        }
        // The ledger has taken the closings.
        if let Some(process) = &mut self.process {
            let mut index = 0;
            process.work.retain(|_| {
                index += 1;
                self.disk.leases[index - 1].incarnation == incarnation
            });
        }
        self.disk.leases.retain(|lease| lease.incarnation == incarnation);
    }

    /// Ends the lease in use, and opens another where that is allowed.
    pub(crate) fn turn_over(&mut self, index: usize, numbers: u8) {
        self.disk.leases[index].closed = true;
        if self.disk.leases[index].number < numbers {
            self.open();
        }
    }
}
