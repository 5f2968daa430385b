//! Many hosts, and control says only what changed: nobody else notices, and it is in force at once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::sync::watch;
use weir_model::EnvironmentId;
use weir_model::route::{Backend, NodeReport, RouteState};
use weir_model::route_feed::{FORMAT, Feed, Head, Line, Part, Since, line_digest, line_text, read_log};

use crate::support::*;

/// As many as a build without optimisation handles in a few seconds.
const HOSTS: u64 = 20_000;
/// So many of the hosts are asked all the time, and never change.
const ASKED: u64 = 200;

/// A control that tells differences.
#[derive(Clone)]
pub(crate) struct Teller {
    told: Arc<Mutex<Told>>,
    newest: watch::Sender<u64>,
    pub(crate) socket: PathBuf,
}

struct Told {
    epoch: u64,
    feed: Feed,
    lines: BTreeMap<EnvironmentId, String>,
    reports: Vec<NodeReport>,
    /// Answers with everything, and with differences.
    wholes: u64,
    differences: u64,
    /// The next difference leaves out what changed.
    forgetful: bool,
}

fn environment(number: u64) -> EnvironmentId {
    EnvironmentId::from_parts(1, u128::from(number))
}

pub(crate) fn host(number: u64) -> String {
    format!("app-{number}.localhost")
}

pub(crate) fn part(number: u64, state: RouteState, pool: Vec<Backend>) -> Part {
    let mut part = Part::default();
    let mut of = snapshot(vec![route("/", state, pool)]);
    let mut routes = of.hosts.remove("shop.localhost").unwrap();
    routes.environment = environment(number);
    part.insert(host(number), &routes);
    part
}

impl Teller {
    pub(crate) fn start(socket: &Path) -> Self {
        let teller = Self {
            told: Arc::new(Mutex::new(Told {
                epoch: 1,
                feed: Feed::default(),
                lines: BTreeMap::new(),
                reports: Vec::new(),
                wholes: 0,
                differences: 0,
                forgetful: false,
            })),
            newest: watch::channel(0).0,
            socket: socket.to_owned(),
        };
        let listener = UnixListener::bind(&teller.socket).unwrap();
        let serving = teller.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                let service = service_fn(move |request| serving.clone().answer(request));
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        teller
    }

    /// Environments change, all in one generation.
    pub(crate) fn tell(&self, parts: Vec<(u64, Option<Part>)>) -> u64 {
        let mut told = self.told.lock().unwrap();
        let generation = *self.newest.borrow() + 1;
        for (number, part) in parts {
            let environment = environment(number);
            match part {
                Some(part) => {
                    let line = line_text(environment, Some(&part)).unwrap();
                    told.feed.set(environment, generation, line_digest(line.as_bytes()));
                    told.lines.insert(environment, line);
                }
                None => {
                    told.feed.remove(environment, generation);
                    told.lines.remove(&environment);
                }
            }
        }
        drop(told);
        self.newest.send_replace(generation);
        generation
    }

    /// How often it told everything, and differences.
    pub(crate) fn told(&self) -> (u64, u64) {
        let told = self.told.lock().unwrap();
        (told.wholes, told.differences)
    }

    pub(crate) fn applied(&self) -> u64 {
        let told = self.told.lock().unwrap();
        told.reports.last().map_or(0, |report| report.applied_generation)
    }

    pub(crate) async fn until_applied(&self, generation: u64) {
        let applied = async {
            while self.applied() < generation {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(120, "the routes are applied", applied).await;
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let nothing = || Response::builder().status(204).body(Full::default()).unwrap();
        if request.method() == Method::POST {
            if request.uri().path() == "/node/report" {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let report = serde_json::from_slice(&body).unwrap();
                self.told.lock().unwrap().reports.push(report);
            }
            return Ok(nothing());
        }
        if request.uri().path() != "/node/snapshot" {
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Ok(nothing());
        }
        let query = request.uri().query().unwrap().replace(['&', '='], " ");
        let words: Vec<&str> = query.split(' ').collect();
        let (after, epoch): (u64, u64) = (words[1].parse().unwrap(), words[3].parse().unwrap());
        let ours = epoch == self.told.lock().unwrap().epoch;
        let mut newest = self.newest.subscribe();
        let waited = newest.wait_for(|newest| *newest != 0 && (*newest != after || !ours));
        let waited = tokio::time::timeout(Duration::from_secs(1), waited).await;
        let Ok(Ok(generation)) = waited.map(|waited| waited.map(|newest| *newest)) else {
            return Ok(nothing());
        };
        Ok(Response::new(Full::from(self.batch(epoch, after, generation))))
    }

    fn batch(&self, epoch: u64, after: u64, generation: u64) -> String {
        let mut told = self.told.lock().unwrap();
        let since = match epoch == told.epoch {
            true => told.feed.since(after),
            false => Since::Whole,
        };
        let (after, mut lines) = match since {
            Since::Whole => (None, told.lines.values().cloned().collect::<Vec<_>>()),
            Since::Changed(changed) => {
                let line = |(environment, is_there): &(EnvironmentId, bool)| match is_there {
                    true => told.lines[environment].clone(),
                    false => line_text(*environment, None).unwrap(),
                };
                (Some(after), changed.iter().map(line).collect())
            }
        };
        if after.is_some() && told.forgetful {
            told.forgetful = false;
            lines.clear();
        }
        *(match after {
            None => &mut told.wholes,
            Some(_) => &mut told.differences,
        }) += 1;
        let head = Head {
            weir_routes: FORMAT,
            epoch: told.epoch,
            generation,
            after,
            lines: u64::try_from(lines.len()).unwrap(),
            digest: told.feed.digest(),
            cache_purges: weir_model::cache::CachePurges::default(),
        };
        let head = serde_json::to_string(&head).unwrap();
        lines.iter().fold(head + "\n", |text, line| text + line + "\n")
    }
}

async fn ask(client: &mut Client, number: u64) -> Result<String, String> {
    let request = Request::get("/").header("host", host(number)).body(empty()).unwrap();
    match client.try_send(request).await {
        Ok(answer) if answer.status == 200 => Ok(answer.text().to_owned()),
        Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_changes_a_second_disturb_nobody_and_are_in_force_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let teller = Teller::start(&folder.path().join("teller.sock"));
    let (old, new) = (App::says("old").await, App::says("new").await);
    let serving = |number, app: &App| (number, Some(part(number, RouteState::Serve, vec![app.backend.clone()])));
    let generation = teller.tell((0..HOSTS).map(|number| serving(number, &old)).collect());
    let node = TestNode::start_with(|config| config.control_socket.clone_from(&teller.socket)).await;
    teller.until_applied(generation).await;

    let stop = Arc::new(AtomicBool::new(false));
    let slowest_us = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, slowest, address) = (Arc::clone(&stop), Arc::clone(&slowest_us), node.address);
            tokio::spawn(async move {
                let (mut client, mut sent) = (Client::connect(address).await, 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let answer = ask(&mut client, fastrand::u64(0..ASKED)).await;
                    assert_eq!(answer.as_deref(), Ok("old"));
                    slowest.fetch_max(u64::try_from(begun.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
                    sent += 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                sent
            })
        })
        .collect();
    let mut client = Client::connect(node.address).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut effects = Vec::new();
    for number in ASKED..ASKED + 200 {
        ticks.tick().await;
        let begun = Instant::now();
        teller.tell(vec![serving(number, &new)]);
        while ask(&mut client, number).await.unwrap() != "new" {}
        effects.push(begun.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for client in clients {
        sent += within(20, "a client ends", client).await.unwrap();
    }
    effects.sort_unstable();
    let (median, slowest) = (effects[effects.len() / 2], effects[effects.len() - 1]);
    let request = Duration::from_micros(slowest_us.load(Ordering::Relaxed));
    println!(
        "{HOSTS} hosts: in force after {median:?} (median), {slowest:?} (slowest); {sent} requests to others, the slowest {request:?}"
    );
    assert!(sent > 500, "{sent}");
    assert!(median < Duration::from_millis(100), "{median:?}");
    // Whatever else the machine does.
    assert!(
        slowest < Duration::from_secs(2) && request < Duration::from_secs(2),
        "{slowest:?} {request:?}"
    );
    let told = teller.told.lock().unwrap();
    assert_eq!(told.wholes, 1);
    assert!(told.differences >= 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_node_missed_is_found_and_a_restart_goes_on_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let teller = Teller::start(&folder.path().join("teller.sock"));
    let app = App::says("here").await;
    let serving = |number| (number, Some(part(number, RouteState::Serve, vec![app.backend.clone()])));
    let generation = teller.tell((0..50).map(serving).collect());
    let mut node = TestNode::start_with(|config| config.control_socket.clone_from(&teller.socket)).await;
    teller.until_applied(generation).await;
    // A difference that says too little: the digest tells, and everything is told anew.
    teller.told.lock().unwrap().forgetful = true;
    teller.tell(vec![serving(50), (3, None)]);
    let mut client = Client::connect(node.address).await;
    let healed = async {
        while ask(&mut client, 50).await.is_err() || ask(&mut client, 3).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(10, "what was left out is served", healed).await;
    assert_eq!(teller.told.lock().unwrap().wholes, 2);
    let generation = teller.tell(vec![serving(51), (4, None)]);
    teller.until_applied(generation).await;
    let file = node.folder.path().join("snapshot.json");
    let kept = |generation: u64| {
        let text = std::fs::read(&file).unwrap_or_default();
        read_log(&text).is_ok_and(|log| log.head.generation == generation)
    };
    eventually("the change is on disk", || kept(generation)).await;
    // Its file says the same as control; what follows is a difference again.
    let text = std::fs::read(&file).unwrap();
    let log = read_log(&text).unwrap();
    assert_eq!(log.lines.len(), 50);
    for (environment, range) in &log.lines {
        assert_eq!(
            text[range.clone()],
            *teller.told.lock().unwrap().lines[environment].as_bytes()
        );
        assert!(
            serde_json::from_slice::<Line>(&text[range.clone()])
                .unwrap()
                .part
                .is_some()
        );
    }
    node.stop().await;
    node.start_again();
    let generation = teller.tell(vec![serving(52)]);
    teller.until_applied(generation).await;
    let mut client = Client::connect(node.address).await;
    for (number, is_there) in [(0, true), (3, false), (4, false), (51, true), (52, true)] {
        assert_eq!(ask(&mut client, number).await.is_ok(), is_there, "{number}");
    }
    assert_eq!(teller.told.lock().unwrap().wholes, 2);
    // Another control knows nothing of these generations.
    teller.told.lock().unwrap().epoch = 2;
    let generation = teller.tell(vec![(0, None)]);
    teller.until_applied(generation).await;
    assert_eq!(teller.told.lock().unwrap().wholes, 3);
    let mut client = Client::connect(node.address).await;
    assert!(ask(&mut client, 0).await.is_err() && ask(&mut client, 1).await.is_ok());
}
