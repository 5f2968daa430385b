//! Writes the OpenAPI document of the API into the repository. The document comes from
//! control's handlers, and a test of control compares it with what is kept; told to, that test
//! writes it. So no other package needs to know control.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Writes `docs/reference/openapi.json` anew.
pub(crate) fn run() -> Result<()> {
    let status = Command::new("cargo")
        .args([
            "test",
            "--quiet",
            "--package",
            "weir-control",
            "--test",
            "it",
            "openapi",
        ])
        .env("UPDATE", "1")
        .current_dir(e2e::root())
        .status()
        .context("run cargo test")?;
    if !status.success() {
        bail!("docs/reference/openapi.json was not written");
    }
    Ok(())
}
