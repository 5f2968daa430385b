//! Does what is decided, one pass after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use weir_model::certificate::Certificate;
use weir_model::project::Domain;
use weir_model::{CertificateId, UnixMillis};
use weir_store::{CertificateCount, CertificateName, CertificateOrigin, CountedKind, StoreError, StoredCertificate};

use super::acme::{Client, Issued, Refusal, limited_subject};
use super::chain;
use super::decide::{Held, Limits, Order, Plan, Proof, Subject, Wanted};
use super::dns::{Dns, Way};
use super::memory::Memory;
use super::order::{Done, Task};
use super::settings::{self, Authority};
use super::words::Standings;
use super::{names, warnings};
use crate::api::ApiError;
use crate::context::Context;
use crate::secrets::Secret;

/// Longest pause between two passes: settings and names may have changed without a word.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What happens at the same time is decided about together.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// How often it is looked for certificates that end and for what authorities wish.
const HOURLY_MS: i64 = 3_600_000;
/// An authority without wishes is asked again after so long.
const WISHLESS_MS: i64 = 86_400_000;
/// Certificates whose authority is asked in one round.
const WISHES: usize = 100;
/// What is told of an authority that is away, and of limits.
const WORDS: usize = 500;

/// Where the key of a certificate belongs, when it is sealed.
pub(super) fn place_of(id: CertificateId) -> String {
    format!("certificate\0{id}")
}

/// Gets and renews certificates until control stops.
pub async fn run(context: Context) {
    let Some(mut runner) = Runner::open(&context).await else {
        return;
    };
    loop {
        let pause = runner.pass().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "certificates could not be decided about; trying again: {}", error.cause.as_deref().unwrap_or_default());
            LONGEST_PAUSE
        });
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = context.certificates.shared.changed.notified() => {}
            Some(ended) = runner.jobs.join_next() => runner.ended(ended).await,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::time::sleep(SHORTEST_PAUSE).await;
        while let Some(ended) = runner.jobs.try_join_next() {
            runner.ended(ended).await;
        }
    }
}

/// Something that runs beside.
enum Job {
    Order(Box<Done>),
    /// What authorities wish: when to renew, and when to ask again.
    Wishes(Vec<(CertificateId, Option<UnixMillis>, UnixMillis)>),
}

/// A certificate that is not written yet.
struct Unsaved {
    certificate: StoredCertificate,
    replaced: Vec<CertificateId>,
    count: CertificateCount,
}

struct Runner {
    context: Context,
    memory: Memory,
    /// What went wrong with names, in words.
    problems: BTreeMap<String, String>,
    /// What is the matter with the authority.
    trouble: Option<String>,
    client: Option<(Authority, Client)>,
    jobs: JoinSet<Job>,
    under_way: Vec<(tokio::task::Id, Order)>,
    unsaved: Vec<Unsaved>,
    hourly_ms: UnixMillis,
}

impl Runner {
    /// Reads everything, as often as it takes; `None` if control is told to stop before.
    async fn open(context: &Context) -> Option<Self> {
        loop {
            match Self::read(context).await {
                Ok(runner) => {
                    context.certificates.open();
                    return Some(runner);
                }
                Err(error) => tracing::warn!(%error, "certificates could not be read; trying again"),
            }
            tokio::select! {
                () = context.stop.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
        }
    }

    async fn read(context: &Context) -> Result<Self, StoreError> {
        let store = &context.store;
        let mut memory = Memory::new(Limits::USUAL);
        let mut problems = BTreeMap::new();
        let now_ms = context.clock.now_ms();
        for count in store
            .certificate_count_list(now_ms - memory.limits.longest_ms())
            .await?
        {
            let spent = &mut memory.spent;
            match count.kind {
                CountedKind::Order => spent.orders.push(count.at_ms),
                CountedKind::Certificate => spent.certificates.entry(count.subject).or_default().push(count.at_ms),
                CountedKind::Failure => spent.failures.entry(count.subject).or_default().push(count.at_ms),
            }
        }
        for (subject, until_ms) in store.certificate_limit_list().await? {
            memory.limited(subject_of(&subject), until_ms);
        }
        for name in store.certificate_name_list().await? {
            let tried = super::decide::Tried {
                looks: name.looks,
                failures: name.failures,
                next_ms: name.next_ms,
            };
            problems.insert(name.name.clone(), name.problem);
            memory.tried.insert(name.name, tried);
        }
        let mut runner = Self {
            context: context.clone(),
            memory,
            problems,
            trouble: None,
            client: None,
            jobs: JoinSet::new(),
            under_way: Vec::new(),
            unsaved: Vec::new(),
            hourly_ms: 0,
        };
        let mut add = Vec::new();
        for stored in store.certificate_list().await? {
            add.extend(runner.in_force(&stored));
            runner.memory.held.push(held_of(&stored));
        }
        context.certificates.change(add, &[]);
        Ok(runner)
    }

    /// As nodes take it; nothing if its key cannot be opened, or it was uploaded and has ended.
    fn in_force(&self, stored: &StoredCertificate) -> Option<(UnixMillis, CertificateId, Certificate)> {
        if stored.origin == CertificateOrigin::Uploaded && stored.not_after_ms <= self.context.clock.now_ms() {
            return None;
        }
        let key = match self.context.sealer.open_text(&place_of(stored.id), &stored.key) {
            Ok(key) => key,
            Err(error) => {
                tracing::error!(certificate.id = %stored.id, %error, "a certificate cannot be used");
                return None;
            }
        };
        Some((rank_of(stored), stored.id, certificate_of(stored, key)))
    }

    /// Uploads and removals since the last pass.
    async fn read_uploads(&mut self) -> Result<(), StoreError> {
        let stored: BTreeSet<CertificateId> = self.context.store.certificate_id_list().await?.into_iter().collect();
        let held: BTreeSet<CertificateId> = self.memory.held.iter().map(|held| held.id).collect();
        let unsaved = |id: &&CertificateId| self.unsaved.iter().any(|unsaved| unsaved.certificate.id == **id);
        let mut gone: Vec<CertificateId> = held.difference(&stored).filter(|id| !unsaved(id)).copied().collect();
        for id in &gone {
            self.memory.drop_held(*id);
        }
        let mut add = Vec::new();
        for id in stored.difference(&held) {
            let Some(new) = self.context.store.certificate_by_id(*id).await? else {
                continue;
            };
            add.extend(self.in_force(&new));
            self.memory.held.push(held_of(&new));
        }
        // One that has ended must not win against what the authority has issued since.
        let now_ms = self.context.clock.now_ms();
        let ended = |held: &&Held| held.uploaded && held.not_after_ms <= now_ms;
        let ended = self.memory.held.iter().filter(ended).map(|held| held.id);
        gone.extend(ended.filter(|id| self.context.certificates.is_in_force(*id)));
        if !add.is_empty() || !gone.is_empty() {
            self.context.certificates.change(add, &gone);
        }
        Ok(())
    }

    /// One look at everything. Returns for how long nothing is to be done.
    async fn pass(&mut self) -> Result<Duration, ApiError> {
        let context = self.context.clone();
        let now_ms = context.clock.now_ms();
        self.save().await;
        self.read_uploads().await?;
        self.memory.prune(now_ms);
        for name in context.certificates.take_retries() {
            if let Some(tried) = self.memory.tried.get_mut(&name) {
                tried.next_ms = now_ms;
            }
        }
        let authority = settings::authority(&context.store).await?;
        self.memory.limits = match authority.as_ref().is_some_and(Authority::is_private) {
            true => Limits::PRIVATE,
            false => Limits::USUAL,
        };
        let dns = self.dns().await?;
        let domains = context.store.domain_list_all().await?;
        let wanted = match &authority {
            Some(authority) => wanted(&domains, &context.config.domain, dns.is_some(), authority),
            None => Vec::new(),
        };
        self.forget_unwanted(&wanted).await;
        let under_way: Vec<Order> = self.under_way.iter().map(|(_, order)| order.clone()).collect();
        let mut plan = self.memory.plan(&wanted, &under_way, now_ms);
        if let Some(authority) = authority.as_ref().filter(|_| !plan.orders.is_empty()) {
            match self.client(authority).await {
                Ok(client) => self.begin(&plan.orders, authority, &client, dns.as_ref()).await,
                Err(refusal) => {
                    self.refused(&[], refusal).await;
                    plan = self.memory.plan(&wanted, &under_way, now_ms);
                }
            }
        }
        self.hourly(now_ms, authority.as_ref(), &domains).await;
        self.tell(authority.as_ref(), &plan);
        let own = domains
            .iter()
            .find(|domain| domain.platform && context.certificates.covers(&domain.host));
        context.certificates.set_default(own.map(|domain| domain.host.clone()));
        let next = plan.next_ms.map_or(LONGEST_PAUSE, |next_ms| {
            Duration::from_millis(u64::try_from(next_ms - now_ms).unwrap_or(0))
        });
        Ok(next.clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }

    async fn dns(&self) -> Result<Option<Dns>, ApiError> {
        let context = &self.context;
        let zone = settings::dns(&context.store).await?;
        let (way, wait_s) = match (&zone, &context.config.dns_hook) {
            (Some(zone), _) => (Way::Zone(settings::open(context, zone)?), zone.wait_s),
            (None, Some(hook)) => (Way::Hook(hook.clone()), 0),
            (None, None) => return Ok(None),
        };
        Ok(Some(Dns {
            way: Arc::new(way),
            wait: Duration::from_secs(u64::from(wait_s)),
            clock: context.clock.clone(),
        }))
    }

    async fn client(&mut self, authority: &Authority) -> Result<Client, Refusal> {
        if let Some((_, client)) = self.client.as_ref().filter(|(known, _)| known == authority) {
            return Ok(client.clone());
        }
        let client = Client::open(&self.context, authority).await?;
        self.client = Some((authority.clone(), client.clone()));
        Ok(client)
    }

    async fn begin(&mut self, orders: &[Order], authority: &Authority, client: &Client, dns: Option<&Dns>) {
        for order in orders {
            let task = Task {
                context: self.context.clone(),
                authority: authority.clone(),
                client: client.clone(),
                dns: dns.cloned(),
                order: order.clone(),
                replaces: self.chain_of(order.replaces).await,
            };
            let work = async move { Job::Order(Box::new(task.run().await)) };
            let id = self.jobs.spawn(work).id();
            self.under_way.push((id, order.clone()));
        }
    }

    async fn chain_of(&self, id: Option<CertificateId>) -> Option<String> {
        let stored = self.context.store.certificate_by_id(id?).await.ok()?;
        stored.map(|stored| stored.chain)
    }

    async fn ended(&mut self, ended: Result<Job, tokio::task::JoinError>) {
        match ended {
            Ok(Job::Wishes(wishes)) => self.wished(wishes).await,
            Ok(Job::Order(done)) => {
                self.under_way.retain(|(_, order)| *order != done.order);
                self.ordered(*done).await;
            }
            Err(error) => {
                self.under_way.retain(|(id, _)| *id != error.id());
                tracing::error!(%error, "an order of a certificate failed");
            }
        }
    }

    async fn ordered(&mut self, done: Done) {
        let now_ms = self.context.clock.now_ms();
        if let Some(placed_ms) = done.placed_ms {
            self.memory.ordered(placed_ms);
        }
        let mut notes = Vec::new();
        for (name, words) in done.astray {
            self.memory.led_elsewhere(&name, now_ms, fastrand::u64(..));
            notes.push((name, words));
        }
        self.note(notes, &[]).await;
        match done.result {
            None => {}
            Some(Ok(issued)) => self.issued(issued, &done.order).await,
            Some(Err(refusal)) => self.refused(&done.order.names, refusal).await,
        }
    }

    /// Writes what went wrong with names.
    async fn note(&mut self, notes: Vec<(String, String)>, counts: &[CertificateCount]) {
        let mut rows = Vec::new();
        for (name, words) in notes {
            let problem: String = words.chars().filter(|c| !c.is_control()).take(WORDS).collect();
            tracing::info!(name, "no certificate for {name}: {problem}");
            let tried = self.memory.tried.get(&name).copied().unwrap_or_default();
            self.problems.insert(name.clone(), problem.clone());
            rows.push(CertificateName {
                name,
                looks: tried.looks,
                failures: tried.failures,
                next_ms: tried.next_ms,
                problem,
            });
        }
        if rows.is_empty() && counts.is_empty() {
            return;
        }
        if let Err(error) = self.context.store.certificate_name_set(&rows, counts).await {
            tracing::warn!(%error, "what went wrong with certificates was not written");
        }
    }

    async fn refused(&mut self, asked: &[String], refusal: Refusal) {
        let now_ms = self.context.clock.now_ms();
        match refusal {
            Refusal::Names(refused) => {
                self.trouble = None;
                let mut counts = Vec::new();
                for (name, _) in &refused {
                    self.memory.refused(name, now_ms, fastrand::u64(..));
                    counts.push(CertificateCount {
                        kind: CountedKind::Failure,
                        subject: name.clone(),
                        at_ms: now_ms,
                    });
                }
                self.note(refused, &counts).await;
            }
            Refusal::Limited { words, until_ms } => {
                let subject = limited_subject(&words, asked);
                tracing::warn!(until_ms, "the certificate authority is over its limits: {words}");
                for name in asked {
                    self.problems
                        .insert(name.clone(), format!("the authority says: {words}"));
                }
                let text = text_of(&subject);
                self.memory.limited(subject, until_ms);
                if let Err(error) = self.context.store.certificate_limit_set(&text, until_ms).await {
                    tracing::warn!(%error, "a limit of the certificate authority was not written");
                }
            }
            Refusal::Away(words) => {
                tracing::warn!("no certificates can be had now: {words}");
                self.trouble = Some(words.chars().filter(|c| !c.is_control()).take(WORDS).collect());
                self.client = None;
                self.memory.unreachable(now_ms, fastrand::u64(..));
            }
        }
    }

    async fn issued(&mut self, issued: Issued, order: &Order) {
        let now_ms = self.context.clock.now_ms();
        let id = CertificateId::from_parts(now_ms, self.context.clock.random());
        let sealed = match self.context.sealer.seal_text(&place_of(id), &issued.key) {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(%error, "the key of a certificate cannot be sealed");
                return;
            }
        };
        let stored = StoredCertificate {
            id,
            origin: CertificateOrigin::Authority,
            names: issued.leaf.names,
            chain: issued.chain,
            key: sealed,
            not_before_ms: issued.leaf.not_before_ms,
            not_after_ms: issued.leaf.not_after_ms,
            renew_ms: None,
            ask_ms: now_ms,
            created_ms: now_ms,
        };
        tracing::info!(certificate.id = %id, "a certificate was issued for {}", stored.names.join(", "));
        self.trouble = None;
        for name in &stored.names {
            self.problems.remove(name);
        }
        let replaced = self.memory.issued(held_of(&stored), &order.registered, now_ms);
        let certificate = certificate_of(&stored, Secret::new(issued.key));
        self.context
            .certificates
            .change(vec![(rank_of(&stored), id, certificate)], &replaced);
        self.unsaved.push(Unsaved {
            count: CertificateCount {
                kind: CountedKind::Certificate,
                subject: order.registered.clone(),
                at_ms: now_ms,
            },
            certificate: stored,
            replaced,
        });
        self.save().await;
    }

    /// Writes what was issued. What cannot be written now is in force anyway, and written later.
    async fn save(&mut self) {
        for unsaved in std::mem::take(&mut self.unsaved) {
            let written = self
                .context
                .store
                .certificate_insert(&unsaved.certificate, &unsaved.replaced, Some(&unsaved.count))
                .await;
            if let Err(error) = written {
                tracing::warn!(%error, "a certificate was not written; trying again");
                self.unsaved.push(unsaved);
            }
        }
    }

    /// What was wrong with names that nobody wants any more.
    async fn forget_unwanted(&mut self, wanted: &[Wanted]) {
        let unwanted = |name: &&String| !wanted.iter().any(|wanted| wanted.name == **name);
        let gone: Vec<String> = self.problems.keys().filter(unwanted).cloned().collect();
        for name in gone {
            self.problems.remove(&name);
            self.memory.tried.remove(&name);
            if let Err(error) = self.context.store.certificate_name_delete(&name).await {
                tracing::debug!(%error, "what was wrong with {name} was not forgotten");
            }
        }
    }

    async fn hourly(&mut self, now_ms: UnixMillis, authority: Option<&Authority>, domains: &[Domain]) {
        if now_ms < self.hourly_ms {
            return;
        }
        self.hourly_ms = now_ms + HOURLY_MS;
        warnings::tell(&self.context, &self.memory.held, domains, now_ms).await;
        let store = self.context.store.clone();
        if let Err(error) = store
            .certificate_count_prune(now_ms - self.memory.limits.longest_ms())
            .await
        {
            tracing::warn!(%error, "old counts of certificates were not pruned");
        }
        self.drop_ended(now_ms).await;
        let Some(authority) = authority else { return };
        let Ok(stored) = store.certificate_list().await else {
            return;
        };
        let due = |stored: &StoredCertificate| {
            stored.origin == CertificateOrigin::Authority && stored.ask_ms <= now_ms && stored.not_after_ms > now_ms
        };
        let due: Vec<StoredCertificate> = stored.into_iter().filter(due).take(WISHES).collect();
        if due.is_empty() {
            return;
        }
        let Ok(client) = self.client(authority).await else {
            return;
        };
        let clock = self.context.clock.clone();
        self.jobs.spawn(async move {
            let mut wishes = Vec::new();
            for stored in due {
                let wish = client.renewal(&stored.chain, fastrand::u64(..)).await;
                let now_ms = clock.now_ms();
                wishes.push(match wish {
                    Some((renew_ms, again)) => {
                        let again_ms = i64::try_from(again.as_millis()).unwrap_or(WISHLESS_MS);
                        (
                            stored.id,
                            Some(renew_ms),
                            now_ms + again_ms.clamp(HOURLY_MS, WISHLESS_MS),
                        )
                    }
                    None => (stored.id, stored.renew_ms, now_ms + WISHLESS_MS),
                });
            }
            Job::Wishes(wishes)
        });
    }

    /// Certificates of ours that have ended and were not renewed: their names are gone.
    async fn drop_ended(&mut self, now_ms: UnixMillis) {
        let ended = |held: &&Held| !held.uploaded && held.not_after_ms + WISHLESS_MS < now_ms;
        let ended: Vec<CertificateId> = self.memory.held.iter().filter(ended).map(|held| held.id).collect();
        for id in &ended {
            self.memory.drop_held(*id);
            if let Err(error) = self.context.store.certificate_delete(*id).await {
                tracing::debug!(%error, "a certificate that has ended was not removed");
            }
        }
        if !ended.is_empty() {
            self.context.certificates.change(Vec::new(), &ended);
        }
    }

    async fn wished(&mut self, wishes: Vec<(CertificateId, Option<UnixMillis>, UnixMillis)>) {
        for (id, renew_ms, ask_ms) in wishes {
            if let Some(held) = self.memory.held.iter_mut().find(|held| held.id == id) {
                // The moment in a window is drawn once, or asking often would move it forward.
                let moved = match (held.renew_ms, renew_ms) {
                    (Some(before), Some(now)) if now >= before => Some(before),
                    (_, now) => now,
                };
                held.renew_ms = moved;
                if let Err(error) = self.context.store.certificate_set_renewal(id, moved, ask_ms).await {
                    tracing::debug!(%error, "when to renew a certificate was not written");
                }
            }
        }
    }

    /// What is said to whoever asks.
    fn tell(&self, authority: Option<&Authority>, plan: &Plan) {
        let mut held: BTreeMap<String, (UnixMillis, bool)> = BTreeMap::new();
        for certificate in &self.memory.held {
            for name in &certificate.names {
                let longest = held.entry(name.clone()).or_default();
                *longest = (certificate.not_after_ms, certificate.uploaded).max(*longest);
            }
        }
        *self.context.certificates.standings() = Standings {
            known: true,
            private: authority.map(Authority::is_private),
            trouble: self.trouble.clone(),
            standings: plan.standings.clone(),
            problems: self.problems.clone(),
            held,
        };
    }
}

fn rank_of(stored: &StoredCertificate) -> UnixMillis {
    match stored.origin {
        CertificateOrigin::Authority => stored.created_ms,
        // They come last, so that they win.
        CertificateOrigin::Uploaded => stored.created_ms.saturating_add(i64::MAX / 2),
    }
}

fn held_of(stored: &StoredCertificate) -> Held {
    Held {
        id: stored.id,
        names: stored.names.clone(),
        not_before_ms: stored.not_before_ms,
        not_after_ms: stored.not_after_ms,
        renew_ms: stored.renew_ms,
        uploaded: stored.origin == CertificateOrigin::Uploaded,
    }
}

fn certificate_of(stored: &StoredCertificate, key: Secret) -> Certificate {
    Certificate {
        names: stored.names.clone(),
        chain_pem: stored.chain.clone(),
        key_pem: key.into_exposed(),
        not_after_ms: stored.not_after_ms,
    }
}

fn text_of(subject: &Subject) -> String {
    match subject {
        Subject::Account => "account".to_owned(),
        Subject::Domain(domain) => format!("domain:{domain}"),
        Subject::Name(name) => format!("name:{name}"),
    }
}

fn subject_of(text: &str) -> Subject {
    match text.split_once(':') {
        Some(("domain", domain)) => Subject::Domain(domain.to_owned()),
        Some(("name", name)) => Subject::Name(name.to_owned()),
        _ => Subject::Account,
    }
}

/// The names that are to have certificates: those that were added, and where records can be made
/// one wildcard instead of all that Weir gives.
fn wanted(domains: &[Domain], own: &str, records: bool, authority: &Authority) -> Vec<Wanted> {
    let private = authority.is_private();
    let wildcard = format!("*.{own}");
    let mut wanted = Vec::new();
    if records && names::is_askable(own, private) {
        wanted.push((wildcard.clone(), Proof::Dns));
    }
    for domain in domains {
        let covered = domain.platform && records && names::covers(&wildcard, &domain.host);
        if !covered && names::is_askable(&domain.host, private) {
            wanted.push((domain.host.clone(), Proof::Node));
        }
    }
    let with_registered = |(name, proof): (String, Proof)| Wanted {
        registered: names::registered(&name),
        name,
        proof,
    };
    wanted.into_iter().map(with_registered).collect()
}

/// A certificate that somebody brought, as it is kept. Fails with words.
pub(super) fn uploaded(context: &Context, chain_pem: &str, key_pem: &str) -> Result<StoredCertificate, String> {
    let now_ms = context.clock.now_ms();
    let leaf = chain::check(chain_pem, key_pem, now_ms)?;
    let id = CertificateId::from_parts(now_ms, context.clock.random());
    let sealed = context.sealer.seal_text(&place_of(id), key_pem);
    Ok(StoredCertificate {
        id,
        origin: CertificateOrigin::Uploaded,
        names: leaf.names,
        chain: chain_pem.to_owned(),
        key: sealed.map_err(|error| error.to_string())?,
        not_before_ms: leaf.not_before_ms,
        not_after_ms: leaf.not_after_ms,
        renew_ms: None,
        ask_ms: 0,
        created_ms: now_ms,
    })
}
