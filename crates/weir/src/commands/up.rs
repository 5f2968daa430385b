use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Result};
use crate::platform::log::{Log, RotatingFile, Sink};
use crate::platform::options::PlatformOptions;
use crate::platform::ready::{Addresses, is_ready};
use crate::platform::supervisor::{self, Stops};
use crate::platform::{background, engine_check, lock, prepare};
use crate::session::Session;

/// Run the platform on this machine.
///
/// Stays in the foreground with a readable log (times are UTC); Ctrl-C stops the platform and
/// leaves the apps running, and the next start finds them. WEIR_LOG=debug says more.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir up\n  weir up --background && weir project create shop\n  weir up --data /srv/weir --http 0.0.0.0:80 --domain apps.example.org\n  WEIR_DATABASE=postgres://weir@db/weir weir up"
)]
pub(crate) struct Args {
    #[command(flatten)]
    options: PlatformOptions,
    /// Return once everything is ready; the log is DIR/log/weir.log.
    #[arg(long)]
    background: bool,
    /// What `--background` starts: without a terminal, with the log in a file.
    #[arg(long, hide = true, conflicts_with = "background")]
    detached: bool,
}

pub(crate) async fn run(mut args: Args, session: &Session) -> Result<()> {
    if args.background {
        engine_check::check(|words| session.ui.note(words)).await?;
        return background::start(&args.options, &session.ui).await;
    }
    if args.detached {
        // Out of the terminal's session, so that closing it does not end the platform.
        let _ = nix::unistd::setsid();
    }
    let data = args.options.data()?;
    prepare::data_folder(&data)?;
    let lock = lock::take(&data)?;
    let say = |words: &str| session.ui.note(words);
    engine_check::check(say).await?;
    prepare::free_address(args.options.control, "--control", say).await?;
    prepare::free_address(args.options.http, "--http", say).await?;
    args.options.settle_https(say);
    if let Some(address) = args.options.https() {
        prepare::free_address(address, "--https", say).await?;
    }
    let sink = if args.detached {
        let path = background::log_file(&data);
        Sink::File(RotatingFile::open(&path).map_err(|error| Failure::file("open", &path, &error))?)
    } else if session.ui.is_json() {
        Sink::Json(session.ui.clone())
    } else {
        Sink::Screen(session.ui.clone())
    };
    let log = Log::start(sink);
    let result = supervise(&args, session, &log).await;
    log.finish();
    drop(lock);
    result
}

async fn supervise(args: &Args, session: &Session, log: &Log) -> Result<()> {
    log.say(&format!(
        "starting weir {} on {}",
        env!("CARGO_PKG_VERSION"),
        args.options.data()?.display()
    ));
    for words in prepare::protect() {
        log.say(words);
    }
    let stops = Stops {
        control: CancellationToken::new(),
        node: CancellationToken::new(),
        at_once: CancellationToken::new(),
    };
    let result = tokio::select! {
        result = supervisor::watch_over(&args.options, log, &stops) => result,
        // Neither of these two ever ends.
        result = stop_by_signal(log, &stops) => result,
        result = announce(args, session, log) => result,
    };
    log.say("stopped; the apps go on, unmetered, until the next start (`weir down --stop-apps` ends them)");
    result
}

/// The first signal stops the parts in order, the second one at once.
async fn stop_by_signal(log: &Log, stops: &Stops) -> Result<()> {
    let watch =
        |kind| signal(kind).map_err(|error| Failure::failed("cannot watch for signals").detail(error.to_string()));
    let (mut terminate, mut interrupt, mut hang_up) = (
        watch(SignalKind::terminate())?,
        watch(SignalKind::interrupt())?,
        watch(SignalKind::hangup())?,
    );
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
        if stops.control.is_cancelled() {
            stops.at_once.cancel();
            continue;
        }
        log.say("stopping (again to stop at once)");
        stops.control.cancel();
    }
}

/// Says once that it is ready.
async fn announce(args: &Args, session: &Session, log: &Log) -> Result<()> {
    let addresses = Addresses::of(&args.options)?;
    while !is_ready(&args.options).await {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let https = args.options.https();
    let https = https.map_or_else(String::new, |address| format!(" and, by TLS, on {address}"));
    log.say(&format!(
        "ready: API and git on {}, applications on {}{https}",
        args.options.control, args.options.http
    ));
    if !args.detached && !session.ui.is_json() {
        session.ui.say(&addresses.text(&session.ui));
    }
    std::future::pending().await
}
