//! The platform on one machine: `weir up` watches over two processes of this binary, `control`
//! and `node`. Either may die and is started again; when `weir up` itself dies, they end too,
//! and the apps go on.

pub(crate) mod background;
pub(crate) mod engine_check;
pub(crate) mod executable;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod options;
pub(crate) mod part;
pub(crate) mod prepare;
pub(crate) mod ready;
pub(crate) mod supervisor;
pub(crate) mod tracing_format;
