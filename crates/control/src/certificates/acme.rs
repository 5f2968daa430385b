//! Gets a certificate from an authority (RFC 8555): order, answers to its questions, certificate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use weir_model::UnixMillis;
use weir_model::certificate::Challenge;

use super::chain::{self, Leaf};
use super::dns::Dns;
use super::http::{Http, noting_waits};
use super::look::Door;
use super::settings::Authority;
use super::{Certificates, names};
use crate::billing::trusted_roots;
use crate::context::Context;

/// The account at the authority, sealed.
const SETTING: &str = "certificates.account";
const PLACE: &str = "certificates\0account";
/// So long is an authority waited for, once it was asked.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));
/// So often an order is begun anew when the library has given up on nonces; the authority gives out
/// the same order again.
const NONCES: u32 = 2;
/// Where an authority is over its limits and does not say until when.
const USUAL_WAIT_MS: i64 = 3_600_000;

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The authority does not believe or not take these names; each with its words.
    Names(Vec<(String, String)>),
    /// It wants to hear nothing of it until then.
    Limited { words: String, until_ms: UnixMillis },
    /// It cannot be reached, or something of ours is away; nobody's name is at fault.
    Away(String),
}

/// What an authority issued.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
    pub(super) leaf: Leaf,
}

/// An account at the authority.
#[derive(Clone)]
pub(super) struct Client {
    account: Account,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("account", &self.account.id()).finish()
    }
}

#[derive(Serialize, Deserialize)]
struct SavedAccount {
    directory: String,
    contact: Option<String>,
    sealed: String,
}

impl Client {
    /// Opens the account at the authority, or makes one there.
    pub(super) async fn open(context: &Context, authority: &Authority) -> Result<Self, Refusal> {
        let http = Http::new(tls(context, authority).map_err(Refusal::Away)?, context.clock.clone());
        let (opened, wait_ms) = noting_waits(Self::open_by(context, authority, http)).await;
        opened.map_err(|error| refusal(&error, &[], wait_ms, context.clock.now_ms()))
    }

    async fn open_by(context: &Context, authority: &Authority, http: Http) -> Result<Self, Error> {
        let saved = context.store.setting_get(SETTING).await.map_err(other)?;
        let saved = saved.and_then(|text| serde_json::from_str::<Option<SavedAccount>>(&text).ok().flatten());
        let same = |saved: &SavedAccount| saved.directory == authority.directory && saved.contact == authority.contact;
        if let Some(saved) = saved.filter(same) {
            let opened = context.sealer.open_text(PLACE, &saved.sealed).map_err(other)?;
            let credentials: AccountCredentials = serde_json::from_str(opened.expose())?;
            let account = Account::builder_with_http(Box::new(http))
                .from_credentials(credentials)
                .await?;
            return Ok(Self { account });
        }
        let contact = authority.contact.as_ref().map(|contact| format!("mailto:{contact}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(Box::new(http));
        let (account, credentials) = builder.create(&new, authority.directory.clone(), None).await?;
        let text = serde_json::to_string(&credentials)?;
        let saved = SavedAccount {
            directory: authority.directory.clone(),
            contact: authority.contact.clone(),
            sealed: context.sealer.seal_text(PLACE, &text).map_err(other)?,
        };
        let text = serde_json::to_string(&saved)?;
        context.store.setting_set(SETTING, &text).await.map_err(other)?;
        tracing::info!(
            authority.directory,
            "made an account at the certificate authority {}",
            authority.directory
        );
        Ok(Self { account })
    }

    /// Forgets the account, because the authority does not know it any more.
    pub(super) async fn forget(context: &Context) {
        if let Err(error) = context.store.setting_set(SETTING, "null").await {
            tracing::warn!(%error, "the account at the certificate authority was not forgotten");
        }
    }

    /// When the authority wants a certificate to be renewed, and when to ask again; `None` where it
    /// has no opinion.
    pub(super) async fn renewal(&self, chain: &str, random: u64) -> Option<(UnixMillis, Duration)> {
        let first = chain::first_of(chain)?;
        let id = CertificateIdentifier::try_from(&first).ok()?;
        let (info, again) = self.account.renewal_info(&id).await.ok()?;
        let window = info.suggested_window;
        let (start, end) = (window.start.unix_timestamp(), window.end.unix_timestamp());
        let width = u64::try_from(end - start).ok().filter(|width| *width > 0).unwrap_or(1);
        let offset = i64::try_from(random % width).unwrap_or(0);
        Some(((start + offset).saturating_mul(1_000), again))
    }
}

/// An order, as it is carried out.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    pub(super) context: &'a Context,
    pub(super) client: &'a Client,
    pub(super) names: &'a [String],
    /// How the authority gets in, where the node answers it.
    pub(super) doors: &'a BTreeMap<String, Door>,
    /// Makes records, where those answer it.
    pub(super) dns: Option<&'a Dns>,
    /// The chain that it takes the place of.
    pub(super) replaces: Option<String>,
}

impl Errand<'_> {
    /// Gets the certificate.
    pub(super) async fn run(&self) -> Result<Issued, Refusal> {
        let mut again = NONCES;
        let (error, wait_ms) = loop {
            let (result, wait_ms) = noting_waits(self.issue()).await;
            match result {
                Ok(issued) => return Ok(issued),
                Err(Stop::Refused(refusal)) => return Err(refusal),
                // Bad luck, not a reason to leave the authority alone for a while.
                Err(Stop::Failed(error)) if again > 0 && kind_of(&error) == Some("badNonce") => again -= 1,
                Err(Stop::Failed(error)) => break (error, wait_ms),
            }
        };
        if kind_of(&error) == Some("accountDoesNotExist") {
            Client::forget(self.context).await;
            return Err(Refusal::Away(
                "the authority does not know our account any more; a new one is made".to_owned(),
            ));
        }
        Err(refusal(&error, self.names, wait_ms, self.context.clock.now_ms()))
    }

    async fn issue(&self) -> Result<Issued, Stop> {
        let mut order = self.place().await?;
        let answers = self.answer(&mut order).await?;
        let status = order.poll_ready(&PATIENCE).await;
        let failed = match &status {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => None,
            _ => Some(failures(&mut order).await),
        };
        answers.take_back().await;
        match (status, failed) {
            (_, Some(failed)) if !failed.is_empty() => return Err(Stop::Refused(Refusal::Names(failed))),
            (Err(error), _) => return Err(error.into()),
            (Ok(_), Some(_)) => {
                let words = "the authority refused the order without saying why";
                return Err(Stop::Refused(Refusal::Names(for_all(self.names, words))));
            }
            (Ok(_), None) => {}
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        let leaf =
            chain::leaf(&chain).map_err(|words| Refusal::Away(format!("the authority sent nonsense: {words}")))?;
        Ok(Issued { chain, key, leaf })
    }

    async fn place(&self) -> Result<Order, Error> {
        let identifiers: Vec<Identifier> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let new = NewOrder::new(&identifiers);
        let replaced = self.replaces.as_deref().and_then(chain::first_of);
        let replaced = replaced.and_then(|first| CertificateIdentifier::try_from(&first).ok());
        if let Some(replaced) = replaced {
            let placed = self
                .account()
                .new_order(&NewOrder::new(&identifiers).replaces(replaced))
                .await;
            let not_so = |error: &Error| match error {
                // It has no such thing, has issued another, or does not answer as it should.
                Error::Unsupported(_) | Error::Other(_) => true,
                error => matches!(kind_of(error), Some("alreadyReplaced" | "malformed")),
            };
            match placed {
                Err(error) if not_so(&error) => {}
                placed => return placed,
            }
        }
        self.account().new_order(&new).await
    }

    fn account(&self) -> &Account {
        &self.client.account
    }

    /// Puts the answers to all questions in place, and says so to the authority.
    async fn answer(&self, order: &mut Order) -> Result<Answers, Stop> {
        let mut answers = Answers::default();
        let mut open = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let host = authorization.identifier().to_string();
            let kind = self.kind_for(&host, &authorization.challenges)?;
            let url = authorization.url().to_owned();
            let Some(challenge) = authorization.challenge(kind.clone()) else {
                continue;
            };
            let key = challenge.key_authorization();
            if kind == ChallengeType::Dns01 {
                let record = format!("_acme-challenge.{}", host.trim_start_matches("*."));
                answers.records.push((record, key.dns_value()));
            } else {
                answers.challenges.push(Challenge {
                    host,
                    token: challenge.token.clone(),
                    key_authorization: key.as_str().to_owned(),
                });
            }
            open.push((url, kind));
        }
        let answers = answers.put(self).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let url = authorization.url().to_owned();
            let Some((_, kind)) = open.iter().find(|(open, _)| *open == url) else {
                continue;
            };
            if let Some(mut challenge) = authorization.challenge(kind.clone()) {
                challenge.set_ready().await?;
            }
        }
        Ok(answers)
    }

    /// Which question of an authority is answered.
    fn kind_for(&self, host: &str, offered: &[instant_acme::Challenge]) -> Result<ChallengeType, Refusal> {
        let wanted = match (self.dns, self.doors.get(host)) {
            (Some(_), _) => [ChallengeType::Dns01, ChallengeType::Dns01],
            (None, Some(Door::Tls)) => [ChallengeType::TlsAlpn01, ChallengeType::Http01],
            (None, _) => [ChallengeType::Http01, ChallengeType::TlsAlpn01],
        };
        let offers = |kind: &ChallengeType| offered.iter().any(|challenge| challenge.r#type == *kind);
        wanted.into_iter().find(offers).ok_or_else(|| {
            let words = "the authority offers no way to show that the name is ours: a record in DNS may be needed (weir certificate dns)";
            Refusal::Names(vec![(host.to_owned(), words.to_owned())])
        })
    }
}

/// Answers that are in place.
#[derive(Debug, Default)]
struct Answers {
    challenges: Vec<Challenge>,
    records: Vec<(String, String)>,
    certificates: Option<Certificates>,
    dns: Option<Dns>,
}

impl Answers {
    async fn put(mut self, errand: &Errand<'_>) -> Result<Self, Stop> {
        if !self.challenges.is_empty() {
            let certificates = &errand.context.certificates;
            self.certificates = Some(certificates.clone());
            if let Err(words) = certificates.answer(&self.challenges).await {
                self.take_back().await;
                return Err(Stop::Refused(Refusal::Away(words)));
            }
        }
        if let Some(dns) = errand.dns.filter(|_| !self.records.is_empty()) {
            self.dns = Some(dns.clone());
            if let Err(words) = dns.add(&self.records).await {
                self.take_back().await;
                return Err(Stop::Refused(Refusal::Names(for_all(errand.names, &words))));
            }
        }
        Ok(self)
    }

    async fn take_back(mut self) {
        if let Some(certificates) = self.certificates.take() {
            certificates.take_back(&self.challenges);
        }
        if let Some(dns) = &self.dns {
            dns.remove(&self.records).await;
        }
    }
}

impl Drop for Answers {
    /// Also where the order is given up on the way. Records in DNS hurt nobody.
    fn drop(&mut self) {
        if let Some(certificates) = self.certificates.take() {
            certificates.take_back(&self.challenges);
        }
    }
}

/// Why an order ends early.
enum Stop {
    Refused(Refusal),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

fn for_all(names: &[String], words: &str) -> Vec<(String, String)> {
    names.iter().map(|name| (name.clone(), words.to_owned())).collect()
}

/// Which names the authority has refused, and in which words.
async fn failures(order: &mut Order) -> Vec<(String, String)> {
    let mut failed = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        if authorization.refresh().await.is_err() || authorization.status != AuthorizationStatus::Invalid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let error = authorization
            .challenges
            .iter()
            .find_map(|challenge| challenge.error.as_ref());
        let words = error.map_or_else(|| "it did not say why".to_owned(), words_of);
        failed.push((name, said(&words)));
    }
    failed
}

fn said(words: &str) -> String {
    format!("the authority says: {words}")
}

/// What an authority says, without the marks of the protocol.
fn words_of(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().map(short);
    match (&problem.detail, kind) {
        (Some(detail), _) => detail.clone(),
        (None, Some(kind)) => kind.to_owned(),
        (None, None) => "it did not say why".to_owned(),
    }
}

fn short(kind: &str) -> &str {
    kind.rsplit(':').next().unwrap_or(kind)
}

fn kind_of(error: &Error) -> Option<&str> {
    match error {
        Error::Api(problem) => problem.r#type.as_deref().map(short),
        _ => None,
    }
}

/// What an error of the authority means for the names of an order.
fn refusal(error: &Error, asked: &[String], wait_ms: Option<UnixMillis>, now_ms: UnixMillis) -> Refusal {
    let Error::Api(problem) = error else {
        return match wait_ms {
            Some(until_ms) if until_ms > now_ms + 60_000 => Refusal::Limited {
                words: error.to_string(),
                until_ms,
            },
            _ => Refusal::Away(error.to_string()),
        };
    };
    match kind_of(error) {
        Some("rateLimited") => Refusal::Limited {
            words: words_of(problem),
            until_ms: wait_ms.unwrap_or(now_ms + USUAL_WAIT_MS),
        },
        Some("badNonce" | "serverInternal" | "accountDoesNotExist" | "userActionRequired" | "orderNotReady") => {
            Refusal::Away(words_of(problem))
        }
        _ if problem.status.is_some_and(|status| status >= 500) || asked.is_empty() => Refusal::Away(words_of(problem)),
        _ => {
            let named: Vec<(String, String)> = problem
                .subproblems
                .iter()
                .filter_map(|sub| match &sub.identifier {
                    Some(Identifier::Dns(name)) => {
                        let words = sub.detail.clone().unwrap_or_else(|| words_of(problem));
                        Some((name.clone(), said(&words)))
                    }
                    _ => None,
                })
                .filter(|(name, _)| asked.contains(name))
                .collect();
            if named.is_empty() {
                Refusal::Names(for_all(asked, &said(&words_of(problem))))
            } else {
                Refusal::Names(named)
            }
        }
    }
}

/// Which of the names, if any, a limit is about.
pub(super) fn limited_subject(words: &str, asked: &[String]) -> super::decide::Subject {
    use super::decide::Subject;
    let says = |name: &str| {
        let mut rest = words;
        while let Some(at) = rest.find(name) {
            let before = rest[..at].chars().next_back();
            let after = rest[at + name.len()..].chars().next();
            let within = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '-');
            if !within(before) && before != Some('.') && !within(after) {
                return true;
            }
            rest = &rest[at + name.len()..];
        }
        false
    };
    for name in asked {
        let registered = names::registered(name);
        if *name != registered && says(name) {
            return Subject::Name(name.clone());
        }
        if says(&registered) {
            return Subject::Domain(registered);
        }
    }
    Subject::Account
}

/// Whom we believe to be the authority.
fn tls(context: &Context, authority: &Authority) -> Result<ClientConfig, String> {
    let roots = match &authority.root {
        Some(root) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(root.as_bytes()).filter_map(Result::ok));
            roots
        }
        None => trusted_roots(context.config.ca_bundle.as_deref())?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::super::decide::Subject;
    use super::*;

    fn problem(text: &str) -> Error {
        Error::Api(serde_json::from_str(text).unwrap())
    }

    fn asked() -> Vec<String> {
        vec!["a.example.org".to_owned(), "b.example.org".to_owned()]
    }

    #[test]
    fn limits_are_about_what_they_name() {
        let subject = |words: &str| limited_subject(words, &asked());
        assert_eq!(
            subject("too many certificates (50) already issued for \"example.org\" in the last 168h0m0s"),
            Subject::Domain("example.org".to_owned())
        );
        assert_eq!(
            subject("too many failed authorizations (5) for \"b.example.org\" in the last 1h0m0s"),
            Subject::Name("b.example.org".to_owned())
        );
        assert_eq!(subject("too many new orders (300) from this account"), Subject::Account);
        assert_eq!(
            subject("see https://letsencrypt.org/docs/rate-limits"),
            Subject::Account
        );
        assert_eq!(subject("notexample.org is fine"), Subject::Account);
    }

    #[test]
    fn errors_are_told_apart_by_whose_fault_they_are() {
        let limited = problem(r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slow down","status":429}"#);
        let told = refusal(&limited, &asked(), Some(99_000), 0);
        assert!(matches!(told, Refusal::Limited { until_ms: 99_000, .. }), "{told:?}");
        let told = refusal(&limited, &asked(), None, 0);
        assert!(
            matches!(
                told,
                Refusal::Limited {
                    until_ms: USUAL_WAIT_MS,
                    ..
                }
            ),
            "{told:?}"
        );
        let internal = problem(r#"{"type":"urn:ietf:params:acme:error:serverInternal","detail":"oops","status":500}"#);
        assert_eq!(refusal(&internal, &asked(), None, 0), Refusal::Away("oops".to_owned()));
        let one = problem(
            r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","status":403,"detail":"some are refused",
                "subproblems":[{"identifier":{"type":"dns","value":"b.example.org"},"detail":"on a list"}]}"#,
        );
        let only_b = vec![("b.example.org".to_owned(), said("on a list"))];
        assert_eq!(refusal(&one, &asked(), None, 0), Refusal::Names(only_b));
        let all = problem(r#"{"type":"urn:ietf:params:acme:error:malformed","status":400,"detail":"no"}"#);
        assert_eq!(
            refusal(&all, &asked(), None, 0),
            Refusal::Names(for_all(&asked(), &said("no")))
        );
    }
}
