//! The Weirs that tests share. Most use the common one, each with projects of its own; tests
//! that kill things have another, one after the other.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, bail};
use e2e::{Weir, leftovers};
use libtest_mimic::Failed;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

static COMMON: OnceCell<Weir> = OnceCell::const_new();
static SHAKY: OnceCell<Weir> = OnceCell::const_new();
static CLEANED: OnceCell<()> = OnceCell::const_new();
static SHAKING: Mutex<()> = Mutex::const_new(());

/// Longest time for one test; a test that hangs must not hang all.
const LIMIT: Duration = Duration::from_secs(900);

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
    })
}

/// Plays a test; what fails carries the end of the Weirs' logs.
pub(crate) fn play<F, Fut>(test: F) -> Result<(), Failed>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let result = runtime().block_on(async { tokio::time::timeout(LIMIT, test()).await });
    let error = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => format!("did not end within {LIMIT:?}"),
    };
    let mut message = error;
    for (name, weir) in [("common", COMMON.get()), ("shaky", SHAKY.get())] {
        if let Some(weir) = weir {
            message.push_str(&format!(
                "\n\n--- end of the log of the {name} Weir\n{}",
                weir.log_tail(25)
            ));
        }
    }
    Err(Failed::from(message))
}

pub(crate) async fn clean_once() -> Result<()> {
    CLEANED.get_or_try_init(leftovers::remove_all).await?;
    Ok(())
}

/// The Weir that most tests share.
pub(crate) async fn common() -> Result<&'static Weir> {
    clean_once().await?;
    COMMON.get_or_try_init(|| Weir::start("common")).await
}

/// The Weir whose parts are killed; one test at a time has it.
pub(crate) async fn shaky() -> Result<(&'static Weir, MutexGuard<'static, ()>)> {
    clean_once().await?;
    let guard = SHAKING.lock().await;
    let weir = SHAKY.get_or_try_init(|| Weir::start("shaky")).await?;
    // The test before may have failed with the platform down.
    if weir.supervisor().is_err() {
        weir.start_again().await?;
    }
    weir.wait_until_healthy().await?;
    Ok((weir, guard))
}

/// Takes everything down. Fails if a Weir panicked: that is a bug whatever the tests say.
pub(crate) fn clear() -> Result<()> {
    runtime().block_on(async {
        let mut panics = String::new();
        for weir in [COMMON.get(), SHAKY.get()].into_iter().flatten() {
            for line in weir.log().lines().filter(|line| line.contains("panicked at")) {
                panics.push_str(line);
                panics.push('\n');
            }
            weir.remove().await?;
        }
        if !panics.is_empty() {
            bail!("Weir panicked:\n{panics}");
        }
        Ok(())
    })
}
