//! One order, from the look whether its names lead here to the certificate.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use weir_model::UnixMillis;
use weir_store::{CertificateCount, CountedKind};

use super::acme::{Client, Errand, Issued, Refusal};
use super::decide::{Order, Proof};
use super::dns::Dns;
use super::look::{self, Door};
use super::settings::Authority;
use crate::context::Context;

/// All that an order needs.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) context: Context,
    pub(super) authority: Authority,
    pub(super) client: Client,
    pub(super) dns: Option<Dns>,
    pub(super) order: Order,
    /// The chain that it takes the place of.
    pub(super) replaces: Option<String>,
}

/// What became of it.
pub(super) struct Done {
    pub(super) order: Order,
    /// Names that do not lead here, with words.
    pub(super) astray: Vec<(String, String)>,
    /// When it was placed, if it was.
    pub(super) placed_ms: Option<UnixMillis>,
    /// Nothing if no name leads here.
    pub(super) result: Option<Result<Issued, Refusal>>,
}

impl Task {
    pub(super) async fn run(self) -> Done {
        let mut done = Done {
            order: self.order.clone(),
            astray: Vec::new(),
            placed_ms: None,
            result: None,
        };
        let mut doors = BTreeMap::new();
        if self.order.proof == Proof::Node {
            let certificates = &self.context.certificates;
            if let Err(words) = certificates.all_in_force().await {
                done.result = Some(Err(Refusal::Away(words)));
                return done;
            }
            let sign = &certificates.shared.sign;
            let looks = self
                .order
                .names
                .iter()
                .map(|name| look::look(&self.authority, name, sign));
            for (name, found) in self.order.names.iter().zip(join_all(looks).await) {
                match found {
                    Ok(door) => drop(doors.insert(name.clone(), door)),
                    Err(words) => done.astray.push((name.clone(), words)),
                }
            }
        }
        let strayed = |name: &String| done.astray.iter().any(|(astray, _)| astray == name);
        let names: Vec<String> = self.order.names.iter().filter(|name| !strayed(name)).cloned().collect();
        if names.is_empty() {
            return done;
        }
        done.placed_ms = Some(self.context.clock.now_ms());
        done.result = Some(self.place(&names, &doors, done.placed_ms.unwrap_or_default()).await);
        done
    }

    async fn place(
        &self,
        names: &[String],
        doors: &BTreeMap<String, Door>,
        now_ms: UnixMillis,
    ) -> Result<Issued, Refusal> {
        let count = CertificateCount {
            kind: CountedKind::Order,
            subject: String::new(),
            at_ms: now_ms,
        };
        // Counted before it is placed: a crash in between counts one too many, never one too few.
        if let Err(error) = self.context.store.certificate_name_set(&[], &[count]).await {
            return Err(Refusal::Away(format!("the order cannot be noted: {error}")));
        }
        let errand = Errand {
            context: &self.context,
            client: &self.client,
            names,
            doors,
            dns: self.dns.as_ref().filter(|_| self.order.proof == Proof::Dns),
            replaces: self.replaces.clone(),
        };
        errand.run().await
    }
}
