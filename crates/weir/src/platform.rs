//! The platform on one machine: `weir up` watches over three processes of this binary: `control`,
//! `node` and `deadman`. Each may die and is started again; when `weir up` itself is killed, they
//! end too, and the apps are frozen until the next one pays for them.

pub(crate) mod background;
mod child;
pub(crate) mod door;
mod draining;
pub(crate) mod engine_check;
pub(crate) mod executable;
pub(crate) mod freezers;
pub(crate) mod handover;
pub(crate) mod installation;
pub(crate) mod left;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod options;
pub(crate) mod part;
pub(crate) mod prepare;
pub(crate) mod protection;
pub(crate) mod ready;
pub(crate) mod sockets;
pub(crate) mod strays;
pub(crate) mod supervisor;
pub(crate) mod tracing_format;
pub(crate) mod upgrade;
pub(crate) mod wallets;
