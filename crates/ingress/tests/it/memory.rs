//! How much memory this process has. It says something of one test only in a process without others.

use std::process::Command;

/// Whether this process runs only the test of this name. If not, the test is run in a process of its
/// own, and fails here if it fails there.
pub(crate) fn is_alone(test: &str) -> bool {
    const ALONE: &str = "WEIR_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    eprint!("{told}");
    // A name that fits no test would pass, too.
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{test}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// What the kernel says that this process has in memory, in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
