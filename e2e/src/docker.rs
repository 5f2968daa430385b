//! A look into Docker from outside, through its own program, as an administrator would.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Runs `docker` and gives its standard output. Fails with what it says.
pub async fn docker(arguments: &[&str]) -> Result<String> {
    let output = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run docker; is it installed?")?;
    if !output.status.success() {
        bail!(
            "docker {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The lines of what `docker` says.
pub async fn lines(arguments: &[&str]) -> Result<Vec<String>> {
    Ok(docker(arguments)
        .await?
        .lines()
        .map(str::to_owned)
        .filter(|line| !line.is_empty())
        .collect())
}

/// Containers, all of them or with further filters, that carry a label (`name` or `name=value`).
pub async fn containers(label: &str) -> Result<Vec<String>> {
    lines(&[
        "ps",
        "--all",
        "--quiet",
        "--no-trunc",
        "--filter",
        &format!("label={label}"),
    ])
    .await
}

/// Networks that carry a label.
pub async fn networks(label: &str) -> Result<Vec<String>> {
    lines(&["network", "ls", "--quiet", "--filter", &format!("label={label}")]).await
}

/// Volumes that carry a label.
pub async fn volumes(label: &str) -> Result<Vec<String>> {
    lines(&["volume", "ls", "--quiet", "--filter", &format!("label={label}")]).await
}

/// Images that carry a label.
pub async fn images(label: &str) -> Result<Vec<String>> {
    lines(&["images", "--quiet", "--no-trunc", "--filter", &format!("label={label}")]).await
}

/// A base image for Dockerfiles that needs no registry: Debian's static busybox and nothing
/// else. Made once and kept.
pub async fn busybox_image() -> Result<&'static str> {
    const IMAGE: &str = "weir-e2e/busybox:1";
    if docker(&["image", "inspect", IMAGE]).await.is_ok() {
        return Ok(IMAGE);
    }
    let script = format!(
        "set -eu; command -v busybox >/dev/null || {{ echo 'install it first: apt-get install busybox-static' >&2; exit 1; }}; \
         dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT; mkdir -p \"$dir/bin\" \"$dir/tmp\" \"$dir/etc\"; \
         cp \"$(command -v busybox)\" \"$dir/bin/busybox\"; \
         for name in sh echo cat sleep httpd ls mkdir env nc id true false; do ln -s busybox \"$dir/bin/$name\"; done; \
         echo root:x:0:0:root:/:/bin/sh >\"$dir/etc/passwd\"; \
         tar -C \"$dir\" -c . | docker import --change 'ENV PATH=/bin' - {IMAGE}"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        bail!("busybox image: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(IMAGE)
}
