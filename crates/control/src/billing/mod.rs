//! What leaves the house about money: notices to people by mail, and to their systems by
//! signed webhooks; and what passes between it and outside systems: payments in, usage and documents
//! out.
//!
//! News are handed in durably ([`NoticeSink`], [`guard_tripped`]) and sent from there ([`run`]):
//! at least once, for each contact in order, again and again for three days when the receiver
//! does not take them. A receiver tells repetitions by the notice's identity.
//!
//! Nothing here can hold up the ledger: what cannot be sent waits, and what is too much for a
//! contact is noted and not sent.

mod address;
mod call;
mod dispatch;
mod mail;
mod news;
mod outside;
mod post;
mod records;
mod signature;
mod topups;

pub(crate) use address::is_public;
pub use address::{check_email, check_url};
pub(crate) use call::trusted_roots;
pub use dispatch::run;
pub(crate) use mail::Mail;
pub use mail::Mailer;
pub use news::{NoticeSink, certificate_ending, guard_tripped, invoice_final, seal_secret, test};
pub use outside::{Courier, Outside, outside, run_outside, set_outside, sha256_of, unset_outside};
pub(crate) use post::{Post, Poster};
pub use topups::{TopupError, receive, set_topups, takes_topups, unset_topups};
pub(crate) use topups::{check_secret, new_secret};
