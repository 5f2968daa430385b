//! `weir up` and `weir down`, as far as they can be seen without apps.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Outcome, bare, finish};

fn command(home: &Path) -> Command {
    bare(env!("CARGO_BIN_EXE_weir"), home, home)
}

fn down(home: &Path, data: &Path) -> Outcome {
    finish(command(home).arg("down").arg("--data").arg(data))
}

#[test]
fn down_where_nothing_runs_is_harmless() {
    let home = tempfile::tempdir().unwrap();
    down(home.path(), &home.path().join("data"))
        .ends_with(0)
        .says(&["no Weir runs"]);
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    let mut command = command(home.path());
    finish(command.args(["up", "--data", "file/data"])).ends_with(1).says(&[
        "cannot create",
        "file/data",
        "--data DIR",
    ]);
}

/// Ended with the test, whatever comes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_one_on_the_same_folder_is_refused_and_a_stop_leaves_no_process() {
    if !Path::new("/var/run/docker.sock").exists() {
        eprintln!("skipped: there is no container engine");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let port = || {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string()
    };
    let mut up = command(home.path());
    up.arg("up")
        .arg("--data")
        .arg(&data)
        .args(["--http", &port(), "--control", &port()]);
    let running = Running(
        up.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let end = Instant::now() + Duration::from_secs(20);
    let pid = running.0.id().to_string();
    while std::fs::read_to_string(data.join("run/weir.pid"))
        .unwrap_or_default()
        .trim()
        != pid
    {
        assert!(Instant::now() < end, "it does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut second = command(home.path());
    finish(second.arg("up").arg("--data").arg(&data))
        .ends_with(6)
        .says(&[&pid, "weir down"]);
    down(home.path(), &data)
        .ends_with(0)
        .says(&["Weir is stopped; no apps run"]);
    let ours: Vec<String> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&*data.to_string_lossy()))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}
