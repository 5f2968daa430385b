//! A service that speaks TCP: at a port that stays, with nothing lost while releases are switched.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Repository, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stage::common;

/// Greets by its version, then gives back what comes.
const ECHO: &str = "import os, socketserver

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b'VERSION')
        while data := self.request.recv(65536):
            self.request.sendall(data)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

Server(('0.0.0.0', int(os.environ['PORT'])), Echo).serve_forever()
";
const WEIR_TOML: &str = "[process.echo]\ncommand = \"python echo.py\"\ngrace = \"1s\"\n\n\
    [[tcp]]\nname = \"echo\"\nprocess = \"echo\"\nport = 7000\n\n[deploy]\ndrain = \"4s\"\n";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

async fn version(repository: &Repository<'_>, version: &str) -> Result<String> {
    repository.write("echo.py", &ECHO.replace("VERSION", version))?;
    repository.commit(version).await?;
    Ok(repository.push("main").await?.ok()?.output)
}

/// A connection, and the version that greeted it.
async fn connect(address: SocketAddr) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let mut greeting = [0; 2];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut greeting)).await??;
    Ok((stream, String::from_utf8_lossy(&greeting).into_owned()))
}

async fn echo(stream: &mut TcpStream, words: &[u8]) -> Result<()> {
    stream.write_all(words).await?;
    let mut back = vec![0; words.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await??;
    ensure!(back == words, "something else came back");
    Ok(())
}

/// Short connections without pause, until it is told to stop; gives what went wrong.
async fn load(address: SocketAddr, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Vec<String> {
    let mut wrong = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let visit = async {
            let (mut stream, _) = connect(address).await?;
            echo(&mut stream, b"hello").await?;
            echo(&mut stream, &[7; 10_000]).await
        };
        if let Err(error) = visit.await {
            wrong.push(format!("{error:#}"));
        }
        done.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    wrong
}

pub(crate) async fn a_tcp_service_keeps_its_port_and_loses_no_connection_when_releases_are_switched() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "echo", &e2e::probe()).await?;
    repository.write("weir.toml", WEIR_TOML)?;
    let said = version(&repository, "v1").await?;
    let status = repository.weir.status("echo", "production").await?;
    let services = status["processes"].as_array().into_iter().flatten();
    let service = services.flat_map(|process| process["tcp"].as_array()).flatten().next();
    let service = service.with_context(|| format!("no service in {status}"))?.clone();
    let port = u16::try_from(service["port"].as_u64().unwrap_or_default())?;
    ensure!(repository.weir.tcp_ports.contains(&port), "{service}");
    let shown = format!("echo.localhost:{port}");
    ensure!(
        service["address"] == shown.as_str() && said.contains(&shown),
        "{service}: {said}"
    );
    let shown_to_people = repository.cli(&["status"]).await?.ok()?;
    ensure!(shown_to_people.stdout.contains(&shown), "{}", shown_to_people.all());

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (mut old, greeting) = until("the port is open", Duration::from_secs(10), || async {
        Ok(connect(address).await.ok())
    })
    .await?;
    ensure!(greeting == "v1", "{greeting}");
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(load(address, Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    for next in ["v2", "v3"] {
        version(&repository, next).await?;
        let (_, greeting) = connect(address).await?;
        ensure!(greeting == next, "{greeting} instead of {next}");
        if next == "v2" {
            echo(&mut old, b"the first release is still here").await?;
        }
    }
    let closed = tokio::time::timeout(Duration::from_secs(60), old.read(&mut [0; 1])).await?;
    ensure!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    stop.store(true, Ordering::Relaxed);
    let mut wrong = Vec::new();
    for client in clients {
        wrong.extend(client.await?);
    }
    let done = done.load(Ordering::Relaxed);
    println!("{done} connections during two switches, {} failed", wrong.len());
    ensure!(
        wrong.is_empty() && done > 50,
        "{done} connections, of which failed: {wrong:#?}"
    );
    repository.destroy().await
}
