//! What is stored when the money has ended: kept, told, deleted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use weir_control::clock::{Clock, SystemClock};
use weir_control::money::storage;
use weir_ledger::book::{Cap, Command, Scope};
use weir_ledger::{Nano, Period};
use weir_model::{EnvironmentId, UnixMillis};

use crate::harness::Control;

const DAY_MS: i64 = 86_400_000;
/// What keeping it for 30 days costs is about 0.49.
const BYTES: u64 = 10_000_000_000;

/// The machine's clock, some days ahead.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now_ms(&self) -> UnixMillis {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

struct House {
    control: Control,
    clock: Arc<Ahead>,
    scope: Scope,
    environment: EnvironmentId,
    log: PathBuf,
}

impl House {
    /// A project that stores much, as logs.
    async fn new() -> Self {
        let clock = Arc::new(Ahead::default());
        let control = Control::start_by(clock.clone()).await;
        let project = control.project("shop").await;
        let environment = control.production(&project).await.id;
        let logs = control
            .folder
            .path()
            .join("logs")
            .join(environment.to_string())
            .join("shop");
        std::fs::create_dir_all(&logs).unwrap();
        let log = logs.join("0.log");
        // The file has a hole.
        std::fs::File::create(&log).unwrap().set_len(BYTES).unwrap();
        Self {
            control,
            clock,
            scope: Scope::Project(project.id),
            environment,
            log,
        }
    }

    async fn cap(&self, limit: &str) {
        let cap = Cap {
            limit: limit.parse().unwrap(),
            period: Period::Total,
            pace: false,
        };
        let scope = self.scope;
        let command = Command::SetCap { scope, cap: Some(cap) };
        self.control.context.money.command(command).await.unwrap();
    }

    /// Time passes, and whoever keeps what is stored looks until something is so.
    async fn after(&self, days: i64, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        self.clock.0.fetch_add(days * DAY_MS, Ordering::SeqCst);
        for _ in 0..10 {
            storage::catch_up(self.control.context.clone()).await;
            for _ in 0..20 {
                if is_so().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
        let standing = self.control.context.money.standing(self.scope);
        panic!("it did not happen: {what}; {:?}; {standing:?}", self.told().await);
    }

    /// What was told of the data, in order.
    async fn told(&self) -> Vec<String> {
        let changes = self.control.context.store.change_list(0, 100).await.unwrap();
        let mine = changes
            .into_iter()
            .filter(|change| change.kind.starts_with("money.data-"));
        mine.map(|change| change.kind).collect()
    }
}

#[tokio::test]
async fn data_is_kept_out_of_its_tail_after_the_cap_was_lowered_and_deleted_after_two_warnings() {
    let house = House::new().await;
    let money = &house.control.context.money;
    house
        .after(0, "the tail is held", async || {
            money.standing(house.scope).unwrap().reserved > Nano(493_000_000)
        })
        .await;
    house.cap("0.0001").await;
    let before = money.standing(house.scope).unwrap();
    house
        .after(20, "what was stored since is paid", async || {
            money.standing(house.scope).unwrap().settled > Nano(328_000_000)
        })
        .await;
    let after = money.standing(house.scope).unwrap();
    let committed = |of: &weir_ledger::book::Standing| of.settled.saturating_add(of.held);
    assert!(committed(&after) <= committed(&before), "{after:?}");
    assert_eq!(house.told().await, [""; 0], "there is time enough");
    house
        .after(7, "its owner is told", async || house.told().await.len() == 1)
        .await;
    house
        .after(0, "it is known until when it is kept", async || {
            money.kept_until(house.environment).is_some()
        })
        .await;
    let kept_ms = money.kept_until(house.environment).unwrap() - house.clock.now_ms();
    assert!((6 * DAY_MS..=14 * DAY_MS).contains(&kept_ms), "{kept_ms}");

    let reconciler = tokio::spawn(weir_control::reconcile::run(house.control.context.clone()));
    house
        .after(kept_ms / DAY_MS, "it is told again", async || {
            house.told().await.len() == 2
        })
        .await;
    assert!(house.log.exists());
    house
        .after(2, "it is deleted", async || {
            house
                .told()
                .await
                .last()
                .is_some_and(|kind| kind == "money.data-deleted")
        })
        .await;
    assert!(!house.log.exists());
    assert_eq!(
        house.told().await,
        ["money.data-ends", "money.data-ends", "money.data-deleted"]
    );
    let kept = house
        .control
        .context
        .store
        .environment_by_id(house.environment)
        .await
        .unwrap();
    assert!(kept.is_some(), "only what it stored is gone");
    reconciler.abort();
    assert_eq!(money.audit().await.unwrap().findings, Vec::<String>::new());
}
