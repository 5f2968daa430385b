//! The console in a real browser, before a real Weir.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use e2e::Weir;
use e2e::processes::Part;

use crate::stage::clean_once;

/// From the first visit to roles that were taken away; what is looked at stands in the script.
pub(crate) async fn people_sign_in_and_work_in_a_browser() -> Result<()> {
    play("console", "e2e/people.mjs").await
}

/// Uploads, pushes, logs, variables, files, a terminal, caps, and a control that does not answer.
pub(crate) async fn an_app_is_deployed_and_cared_for_in_a_browser() -> Result<()> {
    play("console-work", "e2e/work.mjs").await
}

/// Texts, names, paths and cookies of those who mean harm.
pub(crate) async fn hostile_texts_paths_and_cookies_do_nothing_in_a_browser() -> Result<()> {
    play("console-hostile", "e2e/hostile.mjs").await
}

/// Plays a script with a Weir that nobody has visited yet.
async fn play(name: &str, script: &str) -> Result<()> {
    clean_once().await?;
    let console = e2e::root().join("console");
    ensure!(
        console.join("node_modules/playwright-core").is_dir(),
        "the console's own packages are missing; `./test` installs them, or: cd console && npm ci"
    );
    let weir = Weir::start(name).await?;
    let played = run(&weir, &console, script).await;
    // What the script has made in Docker is found by its environments.
    let _ = weir.installation().await;
    let log = weir.log_tail(25);
    weir.remove().await?;
    played.with_context(|| format!("the end of its log:\n{log}"))
}

async fn run(weir: &Weir, console: &Path, script: &str) -> Result<()> {
    let mut command = weir.command("node", console)?;
    command
        .arg(script)
        .env("WEIR_CONTROL_PID", weir.pid(Part::Control)?.to_string());
    let outcome = e2e::weir::run(command, &format!("node {script}")).await?.ok()?;
    print!("{}", outcome.stdout);
    Ok(())
}
