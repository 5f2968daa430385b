//! The service under failures: whatever happens, what was answered is there, and what is there
//! adds up.

mod access;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use weir_ledger::book::{Cap, Command, Fund, Reply, Scope};
use weir_ledger::protocol::{DenialReason, Exchange, LeaseKey, LeaseReport, LineKey, Standing, Want};
use weir_ledger::{Nano, Period, Sku};
use weir_model::project::{Environment, Project};
use weir_model::{AppName, EnvironmentId, EnvironmentName, ProjectId, ProjectName, UnixMillis};
use weir_store::{Account, JournalRow, Store, StoreError, UsageHour};

use super::service::{Books, Journal};
use super::{Bucket, CostColumn, CostQuery, Money, MoneyError};
use crate::clock::Clock;

const HOUR: i64 = 3_600_000;
/// In the middle of a month, of a day and of an hour.
const BEGIN: UnixMillis = 1_763_730_123_000;

/// A clock that is moved by hand.
#[derive(Debug)]
struct HandClock(AtomicI64);

impl HandClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(BEGIN)))
    }

    fn forward(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> UnixMillis {
        self.0.load(Ordering::SeqCst)
    }

    fn random(&self) -> u128 {
        7
    }
}

/// A journal whose writes need permission, and fail on request.
#[derive(Debug)]
struct BadJournal {
    store: Store,
    appends: AtomicUsize,
    /// Writes that may happen.
    permits: Semaphore,
    /// So many of the next writes fail before they have happened …
    fail_before: AtomicUsize,
    /// … and after.
    fail_after: AtomicUsize,
}

impl BadJournal {
    fn new(store: &Store, permits: usize) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            appends: AtomicUsize::new(0),
            permits: Semaphore::new(permits),
            fail_before: AtomicUsize::new(0),
            fail_after: AtomicUsize::new(0),
        })
    }
}

fn take_one(count: &AtomicUsize) -> bool {
    count
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
}

#[async_trait]
impl Journal for BadJournal {
    async fn append(&self, rows: &[JournalRow], hours: &[UsageHour]) -> Result<(), StoreError> {
        self.permits.acquire().await.unwrap().forget();
        if take_one(&self.fail_before) {
            return Err(StoreError::Full("no room".to_owned()));
        }
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.store.append(rows, hours).await?;
        if take_one(&self.fail_after) {
            return Err(StoreError::Unavailable("the connection broke".to_owned()));
        }
        Ok(())
    }
}

struct House {
    folder: tempfile::TempDir,
    store: Store,
    clock: Arc<HandClock>,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(&folder, "weir.db").await;
        let clock = HandClock::new();
        let house = Self { folder, store, clock };
        house
            .store
            .project_insert(&project(), &environment(), &[])
            .await
            .unwrap();
        house
    }

    async fn open(&self) -> Money {
        Money::open_with(self.store.clone(), Arc::new(self.store.clone()), self.clock.clone())
            .await
            .unwrap()
    }

    async fn open_with(&self, journal: Arc<BadJournal>) -> Money {
        Money::open_with(self.store.clone(), journal, self.clock.clone())
            .await
            .unwrap()
    }

    /// As it would be built by a control that starts now, without any checkpoint.
    async fn replayed(&self) -> String {
        let mut books = Books::empty();
        for row in self.store.ledger_journal(0, i64::MAX).await.unwrap() {
            let event = super::chain::read(&row, books.sequence + 1, &books.hash).unwrap();
            books.replay(&row, &event);
        }
        books.checkpoint().unwrap().state
    }
}

async fn store_in(folder: &tempfile::TempDir, name: &str) -> Store {
    let url = format!("sqlite:{}", folder.path().join(name).display());
    Store::open(&url).await.unwrap()
}

fn project() -> Project {
    Project {
        id: ProjectId::from_parts(1, 1),
        account: Account::default_id(),
        name: ProjectName::new("shop").unwrap(),
        created_ms: 1,
        destroying: false,
    }
}

fn environment() -> Environment {
    let id = EnvironmentId::from_parts(1, 1);
    Environment::new(id, project().id, EnvironmentName::production(), 1)
}

fn deposit(number: usize) -> Command {
    Command::Deposit {
        id: format!("payment {number}"),
        account: Account::default_id(),
        fund: Fund::Cash,
        amount: Nano(1),
        reference: String::new(),
    }
}

fn cash(money: &Money) -> i64 {
    money
        .account(Account::default_id())
        .map_or(0, |account| account.free.cash.0)
}

/// A node with one lease that says what it has used.
struct Node {
    incarnation: u64,
    granted: Nano,
    requests: u64,
}

impl Node {
    fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            granted: Nano::ZERO,
            requests: 0,
        }
    }

    fn says(&self, needed: Option<i64>, closed: bool) -> Exchange {
        let line = LineKey {
            app: Some(AppName::new("shop").unwrap()),
            process: None,
            sku: Sku::REQUESTS,
        };
        let report = LeaseReport {
            lease: LeaseKey {
                environment: environment().id,
                number: 1,
            },
            granted: self.granted,
            returned: Nano::ZERO,
            usage: vec![(line, self.requests)],
            want: needed.map(|needed| Want {
                needed: Nano(needed),
                rate_per_s: Nano::ZERO,
            }),
            closed,
        };
        Exchange {
            meter: "node:test".to_owned(),
            incarnation: self.incarnation,
            boot: self.incarnation,
            closings: Vec::new(),
            leases: vec![report],
        }
    }

    async fn asks(&mut self, money: &Money, needed: i64) -> Option<DenialReason> {
        let answer = money.exchange(self.says(Some(needed), false)).await.unwrap();
        assert_eq!(answer.standing, Standing::Current);
        self.granted = self.granted.max(answer.leases[0].granted);
        answer.leases[0].denied.as_ref().map(|denial| denial.reason)
    }

    /// So many requests at 100 nano-units each.
    async fn serves(&mut self, money: &Money, requests: u64) {
        self.requests += requests;
        money.exchange(self.says(None, false)).await.unwrap();
    }

    async fn leaves(&mut self, money: &Money) {
        money.exchange(self.says(None, true)).await.unwrap();
    }
}

async fn cap(money: &Money, limit: i64, pace: bool) {
    let cap = Cap {
        limit: Nano(limit),
        period: Period::Month,
        pace,
    };
    let scope = Scope::Project(project().id);
    money.command(Command::SetCap { scope, cap: Some(cap) }).await.unwrap();
}

#[tokio::test]
async fn what_exists_is_known_to_the_ledger_with_the_caps_of_the_beginning() {
    let house = House::new().await;
    let money = house.open().await;
    let of = |scope| money.standing(scope).unwrap();
    let account = of(Scope::Account(Account::default_id()));
    assert_eq!(account.limit.to_string(), "100.00");
    let shop = of(Scope::Project(project().id));
    assert_eq!(
        (shop.limit.to_string(), shop.cap.unwrap().pace),
        ("7.00".to_owned(), true)
    );
    assert_eq!(of(Scope::Environment(environment().id)).cap, None);
    assert_eq!((money.book().version, money.books().len()), (1, 1));
    money.close().await;
    // Once more changes nothing.
    let before = house.store.ledger_journal(0, 100).await.unwrap();
    let money = house.open().await;
    assert_eq!(house.store.ledger_journal(0, 100).await.unwrap(), before);
    money.close_environment(environment().id).await.unwrap();
    money.close_environment(environment().id).await.unwrap();
    money.close_project(&project()).await.unwrap();
    assert_eq!(money.stopped(environment().id), Some(DenialReason::Gone));
}

#[tokio::test]
async fn what_waits_together_is_written_together_and_each_gets_its_own_reply() {
    let house = House::new().await;
    house.open().await.close().await;
    let journal = BadJournal::new(&house.store, 0);
    let money = house.open_with(journal.clone()).await;
    let waiting: Vec<_> = (0..200)
        .map(|number| {
            let money = money.clone();
            // One is refused: it has the id of another.
            let amount = if number == 199 { Nano(2) } else { Nano(1) };
            let command = Command::Deposit {
                id: format!("payment {}", number % 199),
                account: Account::default_id(),
                fund: Fund::Cash,
                amount,
                reference: String::new(),
            };
            tokio::spawn(async move { money.command(command).await })
        })
        .collect();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(
        waiting.iter().all(|task| !task.is_finished()),
        "nobody is answered before it is written"
    );
    journal.permits.add_permits(1000);
    let mut refused = 0;
    for task in waiting {
        match task.await.unwrap() {
            Ok(Reply::Done) => {}
            Err(MoneyError::Refused(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((cash(&money), refused), (199, 1));
    assert!(journal.appends.load(Ordering::SeqCst) <= 5, "{journal:?}");
}

#[tokio::test]
async fn of_a_write_that_fails_nothing_counts() {
    let house = House::new().await;
    let journal = BadJournal::new(&house.store, 1000);
    let money = house.open_with(journal.clone()).await;
    money.command(deposit(1)).await.unwrap();
    journal.fail_before.store(1, Ordering::SeqCst);
    let failed = money.command(deposit(2)).await;
    assert!(
        matches!(&failed, Err(MoneyError::NotRecorded(words)) if words.contains("no room")),
        "{failed:?}"
    );
    // The next one finds the ledger as it is stored.
    money.command(deposit(3)).await.unwrap();
    assert_eq!(cash(&money), 2);
    assert_eq!(house.replayed().await, money.state().await.unwrap().state);
}

#[tokio::test]
async fn a_write_that_seemed_to_fail_counts_once() {
    let house = House::new().await;
    let journal = BadJournal::new(&house.store, 1000);
    let money = house.open_with(journal.clone()).await;
    journal.fail_after.store(1, Ordering::SeqCst);
    assert!(matches!(
        money.command(deposit(1)).await,
        Err(MoneyError::NotRecorded(_))
    ));
    money.command(deposit(1)).await.unwrap();
    money.command(deposit(2)).await.unwrap();
    assert_eq!(cash(&money), 2);
    let report = money.audit().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

/// A future that is dropped after so many polls, as SIGKILL would end it.
struct Mortal<F> {
    inner: Option<Pin<Box<F>>>,
    polls: usize,
}

impl<F: Future<Output = ()>> Future for Mortal<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.polls == 0 {
            self.inner = None;
            return Poll::Ready(());
        }
        self.polls -= 1;
        match &mut self.inner {
            Some(inner) => inner.as_mut().poll(context),
            None => Poll::Ready(()),
        }
    }
}

#[tokio::test]
async fn killed_at_any_instant_it_has_all_that_it_answered() {
    let house = House::new().await;
    house.open().await.close().await;
    let mut asked = 0;
    let mut answered = Vec::new();
    for polls in 1..40 {
        let journal = Arc::new(house.store.clone());
        let (money, service) = Money::assemble(house.store.clone(), journal, house.clock.clone())
            .await
            .unwrap();
        let known = cash(&money);
        assert!(
            usize::try_from(known).unwrap() >= answered.len() && usize::try_from(known).unwrap() <= asked,
            "{known} of {asked}, answered {}",
            answered.len()
        );
        let service = tokio::spawn(Mortal {
            inner: Some(Box::pin(service.run())),
            polls,
        });
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                asked += 1;
                let (number, money) = (asked, money.clone());
                tokio::spawn(async move { (number, money.command(deposit(number)).await) })
            })
            .collect();
        for task in tasks {
            // With the service its answers are gone; those in the queue wait with the queue.
            let (number, result) = task.await.unwrap();
            match result {
                Ok(_) => answered.push(number),
                Err(error) => assert_eq!(error, MoneyError::Stopped),
            }
        }
        service.abort();
        let _ = service.await;
        // The database's own thread outlives the one who is killed here, as it would not outlive a
        // process: what it was just writing is done once it has written something else.
        house.store.setting_set("after", &polls.to_string()).await.unwrap();
    }
    assert!(
        answered.len() > 20 && answered.len() < asked,
        "{} of {asked}",
        answered.len()
    );
    let money = house.open().await;
    let before = cash(&money);
    for number in answered {
        money.command(deposit(number)).await.unwrap();
    }
    assert_eq!(cash(&money), before, "what was answered is there already");
    assert_eq!(house.replayed().await, money.state().await.unwrap().state);
}

/// Some life: leases, usage in several hours, a crashed node, a lowered cap.
async fn live_a_little(house: &House, money: &Money) {
    cap(money, 1_000_000_000, false).await;
    let mut node = Node::new(1);
    for _ in 0..5 {
        assert_eq!(node.asks(money, 2_000).await, None);
        node.serves(money, 7).await;
        house.clock.forward(HOUR / 3);
    }
    // A crash whose log is lost: all of its lease counts.
    let mut node = Node::new(2);
    assert_eq!(node.asks(money, 5_000).await, None);
    node.serves(money, 3).await;
    house.clock.forward(61_000);
    node.serves(money, 4).await;
    node.leaves(money).await;
    cap(money, 500_000_000, false).await;
    let mut node = Node::new(3);
    node.asks(money, 1).await;
    node.serves(money, 11).await;
}

#[tokio::test]
async fn a_start_from_a_checkpoint_and_one_from_the_beginning_lead_to_the_same() {
    let house = House::new().await;
    let money = house.open().await;
    live_a_little(&house, &money).await;
    let live = money.state().await.unwrap();
    assert_eq!(house.replayed().await, live.state);
    money.close().await;
    let kept = house.store.ledger_checkpoint_before(i64::MAX).await.unwrap().unwrap();
    assert_eq!(kept, live);
    let money = house.open().await;
    assert_eq!(money.state().await.unwrap(), live);
}

#[tokio::test]
async fn costs_are_what_the_ledger_says_to_the_last_unit() {
    let house = House::new().await;
    let money = house.open().await;
    live_a_little(&house, &money).await;
    for scope in [Scope::Project(project().id), Scope::Environment(environment().id)] {
        let query = CostQuery {
            scope,
            from_ms: 0,
            until_ms: i64::MAX,
            bucket: Bucket::Total,
            by: vec![],
        };
        let rows = money.costs(query.clone()).await.unwrap();
        let standing = money.standing(scope).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].amount, standing.settled);
        let by_hour = CostQuery {
            bucket: Bucket::Hour,
            by: vec![CostColumn::App, CostColumn::Sku],
            ..query
        };
        let rows = money.costs(by_hour).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.amount).sum::<Nano>(), standing.settled);
        let requests = rows.iter().filter(|row| row.sku == Some(Sku::REQUESTS));
        // The last eleven are only reported.
        assert_eq!(requests.filter_map(|row| row.units).sum::<u128>(), 35 + 7 + 11);
        assert!(rows.iter().any(|row| row.sku == Some(Sku::LOST)));
        let hours: std::collections::BTreeSet<_> = rows.iter().map(|row| row.from_ms).collect();
        assert!(
            hours.len() >= 2 && hours.iter().all(|hour| hour % HOUR == 0),
            "{hours:?}"
        );
    }
    let report = money.audit().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
    assert!(
        report.leases == 3 && report.hours > 1 && report.checkpoints >= 1,
        "{report:?}"
    );
}

/// A copy of all that is kept of the ledger, changed on the way.
async fn tampered(
    house: &House,
    name: &str,
    rows: impl Fn(&mut Vec<JournalRow>),
    hours: impl Fn(&mut Vec<UsageHour>),
) -> Vec<String> {
    let store = store_in(&house.folder, name).await;
    store.project_insert(&project(), &environment(), &[]).await.unwrap();
    let mut kept_rows = house.store.ledger_journal(0, i64::MAX).await.unwrap();
    let mut kept_hours = Vec::new();
    let all = house
        .store
        .usage_hours_each(None, 0, i64::MAX, |hour| kept_hours.push(hour));
    all.await.unwrap();
    let checkpoint = house.store.ledger_checkpoint_before(i64::MAX).await.unwrap().unwrap();
    rows(&mut kept_rows);
    hours(&mut kept_hours);
    store.ledger_append(&kept_rows, &kept_hours).await.unwrap();
    store.ledger_checkpoint_insert(&checkpoint, 1).await.unwrap();
    let money = Money::open_with(store.clone(), Arc::new(store), house.clock.clone())
        .await
        .unwrap();
    money.audit().await.unwrap().findings
}

#[tokio::test]
async fn the_audit_finds_what_was_tampered_with() {
    let house = House::new().await;
    let money = house.open().await;
    live_a_little(&house, &money).await;
    money.close().await;
    let keep = |_: &mut Vec<JournalRow>| ();
    let keep_hours = |_: &mut Vec<UsageHour>| ();
    assert_eq!(
        tampered(&house, "as-it-was.db", keep, keep_hours).await,
        Vec::<String>::new()
    );

    let changed = tampered(
        &house,
        "body.db",
        |rows| {
            let row = rows.iter_mut().find(|row| row.body.contains("\"settled\"")).unwrap();
            row.body = row.body.replacen("\"units\":7", "\"units\":8", 1);
        },
        keep_hours,
    );
    let changed = changed.await;
    assert!(
        changed.iter().any(|finding| finding.contains("was changed")),
        "{changed:?}"
    );
    assert!(
        changed.iter().any(|finding| finding.contains("the state kept")),
        "{changed:?}"
    );

    let missing = tampered(&house, "row.db", |rows| drop(rows.remove(5)), keep_hours).await;
    assert!(
        missing.contains(&"row 6 is missing; the next one is 7".to_owned()),
        "{missing:?}"
    );

    let hours = tampered(&house, "hour.db", keep, |hours| hours[0].amount.0 -= 1).await;
    assert_eq!(hours.len(), 1);
    assert!(
        hours[0].contains("0 units") && hours[0].contains("1 nano-units"),
        "{hours:?}"
    );
    let units = tampered(&house, "units.db", keep, |hours| hours[0].units += 1).await;
    assert_eq!(units.len(), 1);
}

#[tokio::test]
async fn a_journal_that_was_tampered_with_behind_the_checkpoint_does_not_start() {
    let house = House::new().await;
    let money = house.open().await;
    live_a_little(&house, &money).await;
    let mut rows = house.store.ledger_journal(0, 1000).await.unwrap();
    rows[3].body.push(' ');
    let store = store_in(&house.folder, "bad.db").await;
    store.ledger_append(&rows, &[]).await.unwrap();
    let error = Money::open_with(store.clone(), Arc::new(store), house.clock.clone())
        .await
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("row 4 of the journal was changed"),
        "{error:#}"
    );
}

#[tokio::test]
async fn a_tail_that_does_not_fit_stops_the_environment_until_it_does() {
    let house = House::new().await;
    let money = house.open().await;
    let id = environment().id;
    let gigabytes = 10_000_000_000;
    cap(&money, 100_000_000, false).await;
    let mut changes = money.changes();
    changes.borrow_and_update();
    money.reserve_tail(id, gigabytes, 0).await.unwrap();
    assert_eq!(money.stopped(id), Some(DenialReason::ProjectCap));
    assert!(changes.has_changed().unwrap());
    cap(&money, 1_000_000_000, false).await;
    money.reserve_tail(id, gigabytes, gigabytes / 10).await.unwrap();
    assert_eq!(money.stopped(id), None);
    let reserved = |money: &Money| money.standing(Scope::Project(project().id)).unwrap().reserved;
    // 11 GB at 0.05 for 30 days of a month of 730 hours.
    assert_eq!(reserved(&money).to_string(), "0.542465754");
    // A little more or less needs no new one.
    money
        .reserve_tail(id, gigabytes + 400_000_000, gigabytes / 10)
        .await
        .unwrap();
    assert_eq!(reserved(&money).to_string(), "0.542465754");
    money.reserve_tail(id, 0, 0).await.unwrap();
    assert_eq!(reserved(&money), Nano::ZERO);
}

#[tokio::test]
async fn at_the_cap_storage_is_paid_out_of_its_tail() {
    let house = House::new().await;
    let mut money = house.open().await;
    money.start_meter(&house.folder.path().join("wallet")).unwrap();
    let (id, scope) = (environment().id, Scope::Project(project().id));
    cap(&money, 1_000_000_000, false).await;
    money.reserve_tail(id, 10_000_000_000, 1 << 30).await.unwrap();
    let before = money.standing(scope).unwrap();
    // Nothing is left but what is reserved.
    cap(&money, before.held.0, false).await;
    let minute = 10_000_000_000 * 60_000;
    pay_storage(&money, minute).await;
    money.close().await;
    let after = money.standing(scope).unwrap();
    assert_eq!((before.settled, after.settled), (Nano::ZERO, Nano(11_416)));
    assert_eq!(after.held, after.reserved);
    assert!(after.reserved.0 <= before.reserved.0 - 11_416, "{after:?}");
    let money = house.open().await;
    assert_eq!(money.audit().await.unwrap().findings, Vec::<String>::new());
}

/// Pays as the one who looks after what is kept does: again, while the lease is on its way.
async fn pay_storage(money: &Money, byte_milliseconds: u64) {
    for _ in 0..50 {
        if money.pay_storage(environment().id, byte_milliseconds).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("{:?}", money.standing(Scope::Project(project().id)));
}

#[tokio::test]
async fn the_tail_pays_time_after_time_and_nothing_of_it_gets_lost() {
    let house = House::new().await;
    let mut money = house.open().await;
    money.start_meter(&house.folder.path().join("wallet")).unwrap();
    let (id, scope) = (environment().id, Scope::Project(project().id));
    cap(&money, 1_000_000_000, false).await;
    money.reserve_tail(id, 10_000_000_000, 1 << 30).await.unwrap();
    let reserved = money.standing(scope).unwrap().reserved;
    cap(&money, 1_000, false).await;
    let day = 10_000_000_000 * 86_400_000;
    for days in 1..=4_i64 {
        pay_storage(&money, day).await;
        let paid = money.standing(scope).unwrap();
        // A day costs 16,438,356 and a bit; opening leases and lines costs next to nothing.
        let left = reserved.0 - 16_438_357 * days - 100;
        assert!(paid.reserved.0 >= left, "{days}: {left} {paid:?}");
    }
    money.close().await;
    let after = money.standing(scope).unwrap();
    assert!((after.settled.0 - 4 * 16_438_356).abs() < 100, "{after:?}");
}
