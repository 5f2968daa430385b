//! The data plane: from a client's socket to an instance and back.
//!
//! What it is: a reverse proxy on `hyper` with one single-threaded runtime for each core. It
//! serves from a *table* compiled out of the last [`RouteSnapshot`](weir_model::route) that
//! control gave it (kept in a file, so that it starts without control), and tells control what
//! goes on at each instance. On the networks of the environments it also answers name lookups,
//! so that instances reach public names of this Weir through the ingress.
//!
//! Why so: nothing on the way of a request asks anybody. Routing is a look into an immutable
//! table; admission is an atomic counter per instance; a lock is taken only when a request must
//! wait, or on the idle connections of one worker, which no other core touches while serving.
//!
//! Certificates come apart from the routes (`tls`); a connection's handshake is made by the worker
//! that serves it.
//!
//! What it refuses: to know SQL, the engine or control's insides; to buffer whole bodies; to
//! retry what could have been executed already; `CONNECT`; requests without exactly one host.
//!
//! How it fails: control away, the last routes go on. An instance that does not accept
//! connections: the others are tried, then the request waits a while for a new snapshot. Where
//! an answer cannot be had, a page says what is the matter, marked with an `x-weir` header that
//! no app can forge.
//!
//! The order of a request's phases stands in `serve::serve`.

mod access;
mod access_log;
mod admission;
mod background;
mod body;
mod cache;
mod canary;
mod class;
mod clock;
mod compress;
mod config;
mod connection;
mod control_link;
mod counters;
mod dns;
mod era;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod headers;
mod instance;
mod kept_file;
mod kept_routes;
mod listen;
mod metrics;
mod node;
mod pages;
mod pay;
mod process;
mod protect;
mod registry;
mod report;
mod route_link;
mod serve;
mod sharded;
mod sleep;
mod succession;
mod table;
mod tcp;
mod tenant;
mod tls;
mod trace;
mod upgrade;
mod upstream;

pub use cache::sane_share;
pub use config::{CpuWatch, Guarding, LeastPace, Limits, NodeConfig, NodeError, ProxyHeader, Spending};
pub use counters::CounterTotals;
pub use node::{Node, run_node};
pub use sleep::{Found, Freezer, Freezers, Sleeping, Standing};
pub use succession::{GatewayUse, MOST_SOCKETS, Succession, process};
