//! All that can happen to a few meters and their ledger, in the words of `stateright`.

use stateright::{Model, Property};

use crate::Mutant;
use crate::book::{Book, NOBODY};
use crate::meter::Machine;
use crate::words::{Answer, Question};

/// How large the world is, and what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// `L`: what may be spent.
    pub(crate) limit: u8,
    /// Meters that share it.
    pub(crate) meters: usize,
    /// Machines that speak in the name of each meter; two are a clone of a blank disk.
    pub(crate) machines: usize,
    /// Starts of processes, in total for each meter.
    pub(crate) boots: u8,
    /// Incarnations that a machine begins at most.
    pub(crate) incarnations: u8,
    /// How often the log of a machine is lost, in total for each meter.
    pub(crate) log_losses: u8,
    /// Leases that follow each other in one incarnation.
    pub(crate) numbers: u8,
    /// The money that one record of the log makes drawable.
    pub(crate) chunk: u8,
    /// Whether an operator fences a meter, rightly or wrongly.
    pub(crate) fences: bool,
    /// How much a meter gives back of one lease at most.
    pub(crate) returns: u8,
    /// Whether messages that can change nothing any more are taken off the network. The same
    /// world with fewer states; a fault may break the reasons why they change nothing.
    pub(crate) forgets: bool,
    /// The fault that is built in.
    pub(crate) mutant: Option<Mutant>,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// In sorted order, because which is which makes no difference.
    meters: Vec<Meter>,
}

/// A meter, what the ledger knows of it, and what is under way between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Meter {
    book: Book,
    machines: Vec<Machine>,
    /// Ever said, sorted: it may arrive at any later moment, again and again, or never.
    questions: Vec<Question>,
    /// Ever answered, sorted.
    answers: Vec<Answer>,
    /// Starts of processes so far.
    boots: u8,
    log_losses: u8,
    /// What the oracle counts: units of work that were done.
    work: u8,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    meter: usize,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A process starts.
    Start { machine: usize },
    /// SIGKILL, between any two other steps.
    Crash { machine: usize },
    /// The disk of a machine that is off is lost.
    LoseLog { machine: usize },
    /// A chunk is logged as drawn.
    Log { machine: usize, lease: usize },
    /// A unit is drawn and its work is done.
    Work { machine: usize, lease: usize },
    /// Finished work is counted as used, and so reported.
    Finish { machine: usize, lease: usize },
    /// What was logged as drawn and was not drawn is put out of reach; the mark comes down.
    Sweep { machine: usize, lease: usize },
    /// Idle money is given back, as after a recall.
    GiveBack { machine: usize, lease: usize },
    /// What was said is logged; only with [`Mutant::SaidBeforeLogged`].
    LogGivenBack { machine: usize, lease: usize },
    /// The lease is closed and another one opened.
    TurnOver { machine: usize, lease: usize },
    /// A question arrives, and so much is granted.
    Receive { question: usize, grant: u8 },
    /// The same, and the ledger dies when it has answered and not written; only with
    /// [`Mutant::AnswerBeforeJournal`].
    ReceiveAndForget { question: usize, grant: u8 },
    /// An answer arrives.
    Hear { machine: usize, answer: usize },
    /// The node is given up.
    Fence,
    /// A clock says that the meter was silent for too long: a nuisance that frees nothing.
    Expire,
}

impl State {
    fn settled(&self) -> u8 {
        self.meters.iter().map(|meter| meter.book.settled()).sum()
    }

    fn held(&self) -> u8 {
        self.meters.iter().map(|meter| meter.book.held()).sum()
    }

    fn work(&self) -> u8 {
        self.meters.iter().map(|meter| meter.work).sum()
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let meter = Meter {
            machines: vec![Machine::default(); self.machines],
            ..Meter::default()
        };
        vec![State {
            meters: vec![meter; self.meters],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let room = self.limit.saturating_sub(state.settled() + state.held());
        for (index, meter) in state.meters.iter().enumerate() {
            let mut push = |step| actions.push(Action { meter: index, step });
            for machine in 0..self.machines {
                self.steps_of_machine(meter, machine, &mut push);
            }
            for (question, asked) in meter.questions.iter().enumerate() {
                let most = if meter.book.may_grant(asked) { room } else { 0 };
                (0..=most).for_each(|grant| push(Step::Receive { question, grant }));
                if self.mutant == Some(Mutant::AnswerBeforeJournal) {
                    (1..=most).for_each(|grant| push(Step::ReceiveAndForget { question, grant }));
                }
            }
            if self.fences && meter.book.incarnation > 0 && meter.book.boot != NOBODY {
                push(Step::Fence);
            }
            push(Step::Expire);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.carry_out(&mut next.meters[action.meter], action.step);
        let meter = &mut next.meters[action.meter];
        for machine in 0..self.machines {
            meter.say(machine, self.mutant);
        }
        if self.forgets {
            meter.forget();
        }
        next.meters.sort();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("settled + held <= limit", |world: &Self, state: &State| {
                state.settled() + state.held() <= world.limit
            }),
            Property::always("work <= settled + held", |_, state: &State| {
                state.work() <= state.settled() + state.held()
            }),
            Property::always("work <= limit", |world: &Self, state: &State| {
                state.work() <= world.limit
            }),
            Property::sometimes("all of the limit is used", |world: &Self, state: &State| {
                state.work() == world.limit
            }),
            Property::sometimes("all is used after a restart", |world: &Self, state: &State| {
                let restarted = |meter: &Meter| meter.book.incarnation > 1 && meter.work > 0;
                world.boots < 2
                    || world.incarnations < 2
                    || (state.work() == world.limit && state.meters.iter().any(restarted))
            }),
            Property::sometimes(
                "what one gave back was used by another",
                |world: &Self, state: &State| {
                    let gave = |meter: &Meter| meter.book.got_money_back() && meter.work == 0;
                    let needed = world.returns > 0 && world.meters > 1;
                    !needed || (state.work() == world.limit && state.meters.iter().any(gave))
                },
            ),
        ]
    }
}

impl World {
    fn steps_of_machine(&self, meter: &Meter, machine: usize, push: &mut impl FnMut(Step)) {
        let Machine { disk, process } = &meter.machines[machine];
        let Some(process) = process else {
            if meter.boots < self.boots {
                push(Step::Start { machine });
            }
            if meter.log_losses < self.log_losses && disk.incarnation > 0 {
                push(Step::LoseLog { machine });
            }
            return;
        };
        if meter.boots < self.boots {
            push(Step::Crash { machine });
        }
        for lease in meter.machines[machine].drawable() {
            let logged = &disk.leases[lease];
            let work = process.work[lease];
            let ceiling = meter.machines[machine].ceiling(lease, self.mutant);
            let drawable = if self.mutant == Some(Mutant::WorkBeforeLog) {
                ceiling
            } else {
                logged.mark
            };
            if work.drawn < drawable {
                push(Step::Work { machine, lease });
            }
            if logged.mark < ceiling && work.drawn >= logged.mark {
                push(Step::Log { machine, lease });
            }
            if work.used < work.drawn && process.speaks {
                push(Step::Finish { machine, lease });
            }
            if self.returns > 0 && work.drawn < logged.mark {
                push(Step::Sweep { machine, lease });
            }
            let idle = logged.mark.max(work.drawn) + process.unlogged_returns < logged.granted - logged.returned;
            if logged.returned + process.unlogged_returns < self.returns && process.speaks && idle {
                push(Step::GiveBack { machine, lease });
            }
            if process.unlogged_returns > 0 {
                push(Step::LogGivenBack { machine, lease });
            }
            if self.numbers > 1 && process.speaks && work.used == work.drawn && logged.granted > 0 {
                push(Step::TurnOver { machine, lease });
            }
        }
        let bounded = |answer: &Answer| answer.incarnation > 0 || disk.incarnation < self.incarnations;
        let answers = meter.answers.iter().enumerate().filter(|(_, answer)| bounded(answer));
        answers.for_each(|(answer, _)| push(Step::Hear { machine, answer }));
    }

    fn carry_out(&self, meter: &mut Meter, step: Step) {
        match step {
            Step::Start { machine } => {
                meter.boots += 1;
                meter.machines[machine].start(meter.boots);
            }
            Step::Crash { machine } => meter.machines[machine].process = None,
            Step::LoseLog { machine } => {
                meter.log_losses += 1;
                meter.machines[machine].disk = Default::default();
            }
            Step::Receive { question, grant } => {
                let answers = meter.book.receive(&meter.questions[question], grant, self.mutant);
                answers
                    .into_iter()
                    .for_each(|answer| insert(&mut meter.answers, answer));
            }
            Step::ReceiveAndForget { question, grant } => {
                let mut book = meter.book.clone();
                let answers = book.receive(&meter.questions[question], grant, self.mutant);
                answers
                    .into_iter()
                    .for_each(|answer| insert(&mut meter.answers, answer));
            }
            Step::Hear { machine, answer } => {
                let answer = meter.answers[answer];
                meter.machines[machine].hear(answer, self.mutant);
            }
            Step::Fence => meter.book.fence(self.mutant),
            Step::Expire if self.mutant == Some(Mutant::FreeAtExpiry) => meter.book.expire(),
            Step::Expire => {}
            Step::Log { machine, lease }
            | Step::Work { machine, lease }
            | Step::Finish { machine, lease }
            | Step::Sweep { machine, lease }
            | Step::GiveBack { machine, lease }
            | Step::LogGivenBack { machine, lease }
            | Step::TurnOver { machine, lease } => self.spend(meter, machine, lease, step),
        }
    }

    fn spend(&self, meter: &mut Meter, machine: usize, index: usize, step: Step) {
        let ceiling = meter.machines[machine].ceiling(index, self.mutant);
        let Machine { disk, process } = &mut meter.machines[machine];
        let (Some(process), Some(lease)) = (process, disk.leases.get_mut(index)) else {
            return;
        };
        let work = &mut process.work[index];
        match step {
            Step::Log { .. } => lease.mark = ceiling.min(lease.mark + self.chunk).max(work.drawn),
            Step::Work { .. } => {
                work.drawn += 1;
                meter.work += 1;
            }
            Step::Finish { .. } => work.used += 1,
            Step::Sweep { .. } => lease.mark = work.drawn,
            Step::GiveBack { .. } if self.mutant == Some(Mutant::SaidBeforeLogged) => process.unlogged_returns += 1,
            Step::GiveBack { .. } => lease.returned += 1,
            Step::LogGivenBack { .. } => lease.returned += std::mem::take(&mut process.unlogged_returns),
            _ => meter.machines[machine].turn_over(index, self.numbers),
        }
    }
}

impl Meter {
    /// What the process could say now is on the network from now on.
    fn say(&mut self, machine: usize, mutant: Option<Mutant>) {
        if let Some(question) = self.machines[machine].question(mutant) {
            insert(&mut self.questions, question);
        }
    }
}

impl Meter {
    /// Takes messages off the network that can change nothing, whenever they arrive.
    fn forget(&mut self) {
        let Self { book, machines, .. } = self;
        let lives = |boot| {
            machines
                .iter()
                .any(|machine| machine.process.as_ref().is_some_and(|process| process.boot == boot))
        };
        for question in &mut self.questions {
            if !book.is_current(question, None) {
                // All that is left of it is that its process is told so.
                question.closings.clear();
                question.leases.clear();
            }
        }
        self.questions.sort();
        self.questions.dedup();
        self.questions.retain(|question| match book.is_current(question, None) {
            true => !book.knows(question),
            false => lives(question.boot),
        });
        self.answers
            .retain(|answer| !machines.iter().all(|machine| machine.knows(*answer)));
    }
}

fn insert<T: Ord>(sorted: &mut Vec<T>, item: T) {
    if let Err(place) = sorted.binary_search(&item) {
        sorted.insert(place, item);
    }
}
