use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use weir_model::{AppName, EnvironmentId, InstanceId, ProcessName};

use super::*;

const CPU_MILLI: u32 = 500;
const MEMORY_BYTES: u64 = 1_000;
/// Of the ten seconds of its process.
const GRACE_MS: u64 = 10_000;

/// What is charged and held by SKU, and money: a unit of CPU time costs one, one of memory too,
/// frozen memory nothing.
#[derive(Debug, Default)]
struct Bank {
    money: u64,
    refuses: bool,
    charged: BTreeMap<Sku, u64>,
    held: BTreeMap<Sku, u64>,
}

#[derive(Debug, Clone, Default)]
struct Shared(Rc<RefCell<Bank>>);

struct Coins {
    bank: Shared,
    sku: Sku,
    units: u64,
}

impl Shared {
    fn with(money: u64) -> Self {
        let bank = Self::default();
        bank.0.borrow_mut().money = money;
        bank
    }

    fn charged(&self, sku: &Sku) -> u64 {
        self.0.borrow().charged.get(sku).copied().unwrap_or(0)
    }

    fn held(&self, sku: &Sku) -> u64 {
        self.0.borrow().held.get(sku).copied().unwrap_or(0)
    }

    fn total(&self) -> u64 {
        let of = |sku| (self.charged(sku) + self.held(sku)) * price(sku);
        of(&Sku::CPU) + of(&Sku::MEMORY) + self.0.borrow().money
    }
}

fn price(sku: &Sku) -> u64 {
    u64::from(*sku != Sku::MEMORY_FROZEN)
}

impl Payer for Shared {
    type Held = Coins;

    fn draw<const N: usize>(&self, wanted: [(Sku, u64); N]) -> Option<[Coins; N]> {
        let mut bank = self.0.borrow_mut();
        let cost: u64 = wanted.iter().map(|(sku, units)| units * price(sku)).sum();
        bank.money = bank.money.checked_sub(cost)?;
        Some(wanted.map(|(sku, units)| {
            *bank.held.entry(sku.clone()).or_default() += units;
            Coins {
                bank: self.clone(),
                sku,
                units,
            }
        }))
    }

    fn is_refused(&self) -> bool {
        self.0.borrow().refuses
    }
}

impl Held for Coins {
    fn finish(self, used: u64) {
        assert!(used <= self.units, "more was used than drawn");
        let mut bank = self.bank.0.borrow_mut();
        bank.money += (self.units - used) * price(&self.sku);
        *bank.held.get_mut(&self.sku).unwrap() -= self.units;
        *bank.charged.entry(self.sku).or_default() += used;
    }
}

fn facts() -> MeteredInstance {
    MeteredInstance {
        instance: InstanceId::from_parts(1, 1),
        environment: EnvironmentId::from_parts(1, 2),
        app: AppName::new("shop").unwrap(),
        process: ProcessName::web(),
        memory_bytes: MEMORY_BYTES,
        cpu_milli: CPU_MILLI,
        grace_s: 10,
        address: None,
        frozen: false,
        stopping: false,
    }
}

fn account(bank: &Shared, seen: Seen) -> Account<Shared> {
    Account::new(facts(), bank.clone(), seen, 0)
}

fn runs(cpu_us: u64) -> InstanceUsage {
    InstanceUsage { cpu_us, frozen: false }
}

fn stands(cpu_us: u64) -> InstanceUsage {
    InstanceUsage { cpu_us, frozen: true }
}

const PLENTY: u64 = 1 << 50;

#[test]
fn what_was_used_is_charged_to_the_unit_and_the_rest_goes_back() {
    let bank = Shared::with(PLENTY);
    let mut account = account(&bank, Seen::Now);
    for tick in 0..=80 {
        assert_eq!(account.tick(tick * 125, runs(3_000 + tick * 1_000)), None);
        assert!(account.is_paid());
    }
    account.tick(10_125, stands(84_000));
    account.close(10_125);
    assert_eq!(bank.charged(&Sku::CPU), 84_000);
    assert_eq!(bank.charged(&Sku::MEMORY), MEMORY_BYTES * 10_125);
    assert_eq!(
        (
            bank.held(&Sku::CPU),
            bank.held(&Sku::MEMORY),
            bank.held(&Sku::MEMORY_FROZEN)
        ),
        (0, 0, 0)
    );
    assert_eq!(bank.total(), PLENTY);
}

#[test]
fn what_was_there_before_this_process_is_charged_from_now_on() {
    let bank = Shared::with(PLENTY);
    let mut account = account(&bank, Seen::Before);
    account.tick(0, runs(9_000_000));
    account.tick(125, runs(9_000_050));
    account.tick(250, stands(9_000_060));
    account.close(250);
    assert_eq!(bank.charged(&Sku::CPU), 60);
}

#[test]
fn a_counter_that_begins_anew_is_charged_from_zero() {
    let bank = Shared::with(PLENTY);
    let mut account = account(&bank, Seen::Now);
    account.tick(0, runs(1_000));
    account.tick(125, runs(40));
    account.tick(250, stands(40));
    account.close(250);
    assert_eq!(bank.charged(&Sku::CPU), 1_040);
}

#[test]
fn who_cannot_pay_the_next_slice_is_frozen_at_its_end_and_not_before() {
    // The tail, one slice, and most of another one.
    let money = (u64::from(CPU_MILLI) + MEMORY_BYTES) * (FREEZE_MS + GRACE_MS + SLICE_MS + SLICE_MS - 1);
    let bank = Shared::with(money);
    let mut account = account(&bank, Seen::Now);
    let limit = u64::from(CPU_MILLI);
    let mut frozen_ms = None;
    for tick in 0..40 {
        let now_ms = tick * 125;
        if account.tick(now_ms, runs(now_ms * limit)) == Some(Order::Freeze) {
            frozen_ms = Some(now_ms);
            break;
        }
    }
    assert_eq!(frozen_ms, Some(SLICE_MS), "all of the first slice was used up");
    account.tick(SLICE_MS + 500, stands((SLICE_MS + 500) * limit));
    assert!(account.is_paid(), "frozen, it costs nothing here");
    account.close(SLICE_MS + 500);
    assert_eq!(
        bank.charged(&Sku::CPU),
        (SLICE_MS + 500) * limit,
        "its tail paid for the way to a standstill"
    );
    assert_eq!(bank.total(), money);
}

#[test]
fn an_instance_that_is_being_ended_is_never_frozen() {
    let bank = Shared::with((u64::from(CPU_MILLI) + MEMORY_BYTES) * (FREEZE_MS + GRACE_MS + SLICE_MS));
    let mut account = account(&bank, Seen::Now);
    account.tick(0, runs(0));
    let ending = MeteredInstance {
        stopping: true,
        ..facts()
    };
    account.update(&ending);
    for tick in 1..90 {
        assert_eq!(account.tick(tick * 125, runs(tick * 50_000)), None);
    }
    assert!(!account.is_watched());
}

#[test]
fn who_never_could_pay_is_frozen_while_control_still_holds_money_for_it() {
    for (refuses, seen, by_ms) in [
        (true, Seen::Before, REFUSED_START_MS),
        (false, Seen::Now, UNPAID_START_MS),
        (false, Seen::Before, KNOWN_START_MS),
    ] {
        let bank = Shared::with(10);
        bank.0.borrow_mut().refuses = refuses;
        let mut account = account(&bank, seen);
        assert_eq!(account.tick(0, runs(0)), None);
        assert_eq!(account.tick(by_ms - 1, runs(1)), None);
        assert!(!account.is_paid());
        assert_eq!(account.tick(by_ms, runs(1)), Some(Order::Freeze));
        assert_eq!(account.tick(by_ms + 125, runs(1)), None, "the order is on its way");
        assert_eq!(account.tick(by_ms + ORDER_AGAIN_MS, runs(1)), Some(Order::Freeze));
    }
}

#[test]
fn what_the_deadman_froze_runs_again_once_it_is_paid_for_and_nothing_else_does() {
    let bank = Shared::with(10);
    let mut account = account(&bank, Seen::Before);
    assert_eq!(account.tick(0, stands(5)), None);
    account.wake();
    assert_eq!(account.tick(125, stands(5)), None, "there is no money");
    bank.0.borrow_mut().money = PLENTY;
    assert_eq!(account.tick(250, stands(5)), Some(Order::Thaw));
    assert!(account.is_paid() && account.is_watched());
    assert_eq!(account.tick(375, stands(5)), None, "it takes a moment");
    assert_eq!(account.tick(500, runs(6)), None);
    assert!(!account.is_to_be_woken());

    // Frozen by control for a rollback: stays so.
    account.update(&MeteredInstance {
        frozen: true,
        ..facts()
    });
    account.tick(625, stands(7));
    account.wake();
    assert_eq!(account.tick(750, stands(7)), None);
    assert!(!account.is_to_be_woken());
}

#[test]
fn a_frozen_instance_pays_for_its_memory_only_and_runs_on_when_control_thaws_it() {
    let bank = Shared::with(PLENTY);
    let mut account = account(&bank, Seen::Before);
    for second in 0..30 {
        account.tick(second * 1_000, stands(7));
        assert!(account.is_paid() && !account.is_watched());
    }
    assert_eq!(
        bank.held(&Sku::CPU),
        u64::from(CPU_MILLI) * GRACE_MS,
        "only for its end"
    );
    account.tick(30_000, runs(7));
    assert!(account.is_paid() && account.is_watched());
    account.tick(30_125, stands(9));
    account.close(30_125);
    assert_eq!(bank.charged(&Sku::MEMORY_FROZEN), MEMORY_BYTES * 30_000);
    assert_eq!(bank.charged(&Sku::MEMORY), MEMORY_BYTES * 125);
    assert_eq!(bank.charged(&Sku::CPU), 2);
    assert_eq!(bank.total(), PLENTY);
}

#[test]
fn the_whole_grace_of_an_instance_is_held_and_pays_for_its_end_after_it_stood_still() {
    let limit = u64::from(CPU_MILLI);
    let long = MeteredInstance { grace_s: 60, ..facts() };
    let bank = Shared::with((limit + MEMORY_BYTES) * (FREEZE_MS + 60_000 + SLICE_MS));
    let mut account = Account::new(long.clone(), bank.clone(), Seen::Now, 0);
    account.tick(0, runs(0));
    account.tick(SLICE_MS, stands(SLICE_MS * limit));
    // Whatever went back is spent by somebody else.
    bank.0.borrow_mut().money = 0;
    account.tick(600_000, stands(SLICE_MS * limit));
    account.update(&MeteredInstance { stopping: true, ..long });
    for ms in (0..=60_000).step_by(125) {
        let order = account.tick(600_000 + ms, runs((SLICE_MS + ms) * limit));
        assert_eq!(order, None, "it is left to end");
        assert!(account.is_paid());
    }
    account.close(660_000);
    assert_eq!(bank.charged(&Sku::CPU), (SLICE_MS + 60_000) * limit);
    assert_eq!(bank.charged(&Sku::MEMORY), (SLICE_MS + 60_000) * MEMORY_BYTES);
    assert_eq!(bank.held(&Sku::CPU), 0);
}

#[test]
fn an_instance_that_was_announced_long_before_it_ran_has_its_time_to_be_paid_for() {
    let bank = Shared::with(0);
    let mut account = account(&bank, Seen::Now);
    assert_eq!(account.tick(60_000, runs(0)), None);
    assert_eq!(account.tick(60_000 + UNPAID_START_MS - 125, runs(0)), None);
    assert_eq!(account.tick(60_000 + UNPAID_START_MS, runs(0)), Some(Order::Freeze));
}

/// One step of a random life.
#[derive(Debug, Clone)]
struct Step {
    /// Since the step before; the loop may be late.
    passed_ms: u64,
    /// How much of what it could use it uses, in hundredths; the kernel gives a little too much.
    busy: u64,
    /// Money that comes in.
    income: u64,
    /// Whether a freeze that was ordered has come through.
    obeys: bool,
    /// Whether control thaws it now, if it stands still.
    thaws: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let passed_ms = prop_oneof![20 => 100..200_u64, 1 => 200..2_000_u64];
    let income = prop_oneof![4 => Just(0), 1 => 0..3_000_000_u64];
    (
        passed_ms,
        0..=105_u64,
        income,
        any::<bool>(),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(passed_ms, busy, income, obeys, thaws)| Step {
            passed_ms,
            busy,
            income,
            obeys,
            thaws,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// At every instant at which it runs and was paid for once, what it has used is charged or
    /// held; the order to freeze comes soon enough that its tail outlasts it; no money is made or
    /// lost; and what stands still was charged to the unit.
    #[test]
    fn what_is_used_is_drawn_before(money in 0..60_000_000_u64, steps in prop::collection::vec(step(), 1..400)) {
        let bank = Shared::with(money);
        let (mut account, mut now_ms, mut cpu_us, mut income) = (account(&bank, Seen::Now), 0, 0, 0);
        let (mut frozen, mut was_paid, mut ordered_ms) = (false, false, None);
        // Used before it could be paid for the first time, which control's money is for.
        let mut before = 0;
        for step in steps {
            now_ms += step.passed_ms;
            let used_us = if frozen { 0 } else { u64::from(CPU_MILLI) * step.passed_ms * step.busy / 100 };
            cpu_us += used_us;
            bank.0.borrow_mut().money += step.income;
            income += step.income;
            if let Some(at_ms) = ordered_ms && (step.obeys || now_ms >= at_ms + FREEZE_MS - 2_000) {
                frozen = true;
                ordered_ms = None;
            }
            if frozen && step.thaws {
                frozen = false;
            }
            // Before the account acts: what it drew until now must have been enough.
            if was_paid {
                prop_assert!(cpu_us - before <= bank.charged(&Sku::CPU) + bank.held(&Sku::CPU));
            }
            let order = account.tick(now_ms, InstanceUsage { cpu_us, frozen });
            if order == Some(Order::Freeze) && ordered_ms.is_none() {
                ordered_ms = Some(now_ms);
            }
            let paid_now = account.is_paid() && !frozen;
            if paid_now && !was_paid {
                before = cpu_us - bank.charged(&Sku::CPU) - account.owed.cpu;
            }
            was_paid = paid_now || (was_paid && !frozen);
            if paid_now {
                ordered_ms = None;
            }
            prop_assert_eq!(bank.total(), money + income);
        }
        let paid = account.is_paid();
        account.tick(now_ms, InstanceUsage { cpu_us, frozen: true });
        account.close(now_ms);
        prop_assert_eq!((bank.held(&Sku::CPU), bank.held(&Sku::MEMORY)), (0, 0));
        prop_assert!(bank.charged(&Sku::CPU) <= cpu_us);
        if paid && !frozen {
            prop_assert_eq!(bank.charged(&Sku::CPU), cpu_us - before);
        }
        prop_assert_eq!(bank.total(), money + income);
    }
}
