//! The console in a real browser, before a real Weir.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use e2e::Weir;

use crate::stage::clean_once;

/// From the first visit to roles that were taken away; what is looked at stands in the script.
pub(crate) async fn people_sign_in_and_work_in_a_browser() -> Result<()> {
    clean_once().await?;
    let console = e2e::root().join("console");
    ensure!(
        console.join("node_modules/playwright-core").is_dir(),
        "the console's own packages are missing; `./test` installs them, or: cd console && npm ci"
    );
    // One that nobody has visited yet.
    let weir = Weir::start("console").await?;
    let played = play(&weir, &console, "e2e/people.mjs").await;
    let log = weir.log_tail(25);
    weir.remove().await?;
    played.with_context(|| format!("the end of its log:\n{log}"))
}

async fn play(weir: &Weir, console: &Path, script: &str) -> Result<()> {
    let mut command = weir.command("node", console)?;
    command.arg(script);
    let outcome = e2e::weir::run(command, &format!("node {script}")).await?.ok()?;
    print!("{}", outcome.stdout);
    Ok(())
}
