//! What holds for one host, and a request's way through it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::header::{self, HeaderMap};
use http::{Method, Request};
use ipnet::IpNet;
use weir_model::EnvironmentId;
use weir_model::protection::{AccessRule, Layer, Maintenance, Network, Protection, Rate, RatePer, Satisfy};

use super::access::{Users, Verdict};
use super::addresses::{self, ClientKey};
use super::bypass::Bypass;
use super::rate::{Bucket, Pour};
use super::{Defences, RefusalCounts, path};
use crate::body::RequestBody;
use crate::clock;
use crate::counters::count;
use crate::node::Worker;
use crate::pages::Page;
use crate::table::prefix_matches;

/// Wrong passwords that one address may try at once, and how often another one.
const WRONG_AT_ONCE: u32 = 10;
const WRONG_EACH: Duration = Duration::from_secs(10);

/// What holds for one host.
#[derive(Debug)]
pub(crate) struct Fence {
    environment: EnvironmentId,
    title: Arc<str>,
    layers: Vec<CompiledLayer>,
    maintenance: Option<Closed>,
    refused: Arc<RefusalCounts>,
}

/// How a host is closed.
#[derive(Debug)]
struct Closed {
    maintenance: Arc<Maintenance>,
    allow: Vec<IpNet>,
    bypass: Option<Bypass>,
}

impl Closed {
    fn of(maintenance: &Maintenance) -> Self {
        Self {
            allow: plain(&maintenance.allow),
            bypass: maintenance.bypass.as_deref().and_then(Bypass::of),
            maintenance: Arc::new(maintenance.clone()),
        }
    }
}

#[derive(Debug)]
struct CompiledLayer {
    name: Box<str>,
    /// Without the slash at the end, as it was written and as a lenient app reads it.
    prefix: Box<str>,
    lenient: Box<str>,
    methods: Vec<Method>,
    max_body_bytes: Option<u64>,
    rate: Option<CompiledRate>,
    access: Option<CompiledAccess>,
}

#[derive(Debug)]
struct CompiledRate {
    pour: Pour,
    /// Everybody's; none where each address has its own.
    common: Option<Arc<Bucket>>,
}

#[derive(Debug)]
struct CompiledAccess {
    users: Option<Arc<Users>>,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    satisfy: Satisfy,
}

fn plain(networks: &[Network]) -> Vec<IpNet> {
    networks.iter().map(|network| network.0).collect()
}

impl CompiledAccess {
    fn of(rule: &AccessRule) -> Self {
        Self {
            users: rule.users.as_deref().map(|users| Arc::new(Users::new(users))),
            allow: plain(&rule.allow),
            deny: plain(&rule.deny),
            satisfy: rule.satisfy,
        }
    }
}

impl CompiledLayer {
    fn of(defences: &Defences, environment: EnvironmentId, layer: &Layer) -> Self {
        let rate = |rate: &Rate| CompiledRate {
            pour: Pour::new(rate.requests, Duration::from_secs(rate.per_s.into()), rate.burst),
            common: (rate.per == RatePer::All).then(|| defences.common_bucket(environment, &layer.name)),
        };
        let prefix = layer.path_prefix.trim_end_matches('/');
        Self {
            name: layer.name.as_str().into(),
            prefix: prefix.into(),
            lenient: path::lenient(prefix).trim_end_matches('/').into(),
            methods: layer.methods.iter().filter_map(|method| method.parse().ok()).collect(),
            max_body_bytes: layer.max_body_bytes,
            rate: layer.rate.as_ref().map(rate),
            access: layer.access.as_ref().map(CompiledAccess::of),
        }
    }

    fn is_for(&self, method: &Method) -> bool {
        // A HEAD is a GET without its body (RFC 9110, 9.3.2), and apps answer it so.
        let read_as = if method == Method::HEAD { &Method::GET } else { method };
        // Some apps take `post` for POST.
        let is = |named: &Method| {
            [method, read_as]
                .iter()
                .any(|it| named.as_str().eq_ignore_ascii_case(it.as_str()))
        };
        self.methods.is_empty() || self.methods.iter().any(is)
    }

    fn covers(&self, path: &str, lenient: &str) -> bool {
        prefix_matches(&self.prefix, path) || prefix_matches(&self.lenient, lenient)
    }
}

impl Fence {
    /// None where everything is let through.
    pub(crate) fn of(
        defences: &Defences,
        environment: EnvironmentId,
        title: &str,
        protection: &Protection,
    ) -> Option<Arc<Self>> {
        if *protection == Protection::default() {
            return None;
        }
        let mut layers: Vec<CompiledLayer> = protection
            .layers
            .iter()
            .map(|layer| CompiledLayer::of(defences, environment, layer))
            .collect();
        layers.sort_by_key(|layer| layer.prefix.len());
        let maintenance = protection.maintenance.as_ref();
        Some(Arc::new(Self {
            environment,
            title: title.into(),
            layers,
            maintenance: maintenance.map(Closed::of),
            refused: defences.refusals_of(environment),
        }))
    }

    /// Lets a browser through a maintenance from now on, if it came by the secret link. Such a request
    /// is seen by nobody else, as its path is secret.
    pub(crate) fn by_link(&self, method: &Method, path: &str, secure: bool) -> Option<Page> {
        let bypass = self.maintenance.as_ref()?.bypass.filter(|_| method == Method::GET)?;
        Some(Page::let_through(bypass.cookie(path, secure)?))
    }

    fn refuse<T>(&self, counter: impl Fn(&RefusalCounts) -> &AtomicU64, page: Page) -> Result<T, Page> {
        count(counter(&self.refused));
        Err(page)
    }
}

/// Lets a request pass, or says why not. Whatever is asked of it is asked once.
pub(crate) async fn pass(
    worker: &Worker,
    fence: &Fence,
    client: IpAddr,
    request: &mut Request<RequestBody>,
) -> Result<(), Page> {
    let defences = &worker.shared.defences;
    if let Some(closed) = &fence.maintenance {
        let by_cookie = closed.bypass.is_some_and(|bypass| bypass.take(request.headers_mut()));
        if !by_cookie && !addresses::contains(&closed.allow, client) {
            let page = Page::maintenance(&fence.title, &closed.maintenance, clock::unix_ms());
            return fence.refuse(|refused| &refused.maintenance, page);
        }
    }
    let path = request.uri().path();
    let lenient = path::lenient(path);
    let any = path::may_mean_any(path);
    let covering: Vec<&CompiledLayer> = fence
        .layers
        .iter()
        .filter(|layer| layer.is_for(request.method()) && (any || layer.covers(path, &lenient)))
        .collect();
    for layer in &covering {
        if let Some(rate) = &layer.rate
            && let Err(wait) = within_rate(defences, fence, layer, rate, client)
        {
            let page = Page::too_many_requests(&fence.title, wait);
            return fence.refuse(|refused| &refused.rate, page);
        }
    }
    for layer in &covering {
        if let Some(access) = &layer.access {
            admit(worker, fence, layer, access, client, request.headers()).await?;
        }
    }
    if covering.iter().any(|layer| layer.asks_for_password()) {
        // It was for us; an app has no business with it.
        request.headers_mut().remove(header::AUTHORIZATION);
    }
    let mut limits = covering.iter().rev().filter_map(|layer| layer.max_body_bytes);
    let most = if any { limits.min() } else { limits.next() };
    let Some(most) = most else { return Ok(()) };
    if announced(request.headers()).is_some_and(|announced| announced > most) {
        let page = Page::body_too_large(&fence.title, most);
        return fence.refuse(|refused| &refused.body, page);
    }
    request.body_mut().allow_at_most(most);
    Ok(())
}

impl CompiledLayer {
    fn asks_for_password(&self) -> bool {
        self.access.as_ref().is_some_and(|access| access.users.is_some())
    }
}

fn within_rate(
    defences: &Defences,
    fence: &Fence,
    layer: &CompiledLayer,
    rate: &CompiledRate,
    client: IpAddr,
) -> Result<(), Duration> {
    let now_ns = defences.now_ns();
    match &rate.common {
        Some(bucket) => bucket.take(rate.pour, now_ns),
        None => {
            let whose = (fence.environment, &layer.name, ClientKey::of(client));
            defences.buckets.of(whose, now_ns).take(rate.pour, now_ns)
        }
    }
}

/// The size that the client says its body has.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Asks who it is.
async fn admit(
    worker: &Worker,
    fence: &Fence,
    layer: &CompiledLayer,
    access: &CompiledAccess,
    client: IpAddr,
    headers: &HeaderMap,
) -> Result<(), Page> {
    let refused = |page| fence.refuse(|refused| &refused.address, page);
    if addresses::contains(&access.deny, client) {
        return refused(Page::address_refused(&fence.title));
    }
    let listed = addresses::contains(&access.allow, client);
    let Some(users) = &access.users else {
        return match listed || access.allow.is_empty() {
            true => Ok(()),
            false => refused(Page::address_refused(&fence.title)),
        };
    };
    match access.satisfy {
        Satisfy::Any if listed => return Ok(()),
        Satisfy::All if !listed && !access.allow.is_empty() => {
            return refused(Page::address_refused(&fence.title));
        }
        Satisfy::Any | Satisfy::All => {}
    }
    ask_password(worker, fence, layer, users, client, headers).await
}

async fn ask_password(
    worker: &Worker,
    fence: &Fence,
    layer: &CompiledLayer,
    users: &Arc<Users>,
    client: IpAddr,
    headers: &HeaderMap,
) -> Result<(), Page> {
    let shared = &worker.shared;
    let defences = &shared.defences;
    let authorization = headers.get(header::AUTHORIZATION);
    let (environment, now_ms) = (fence.environment, shared.clock.now_ms());
    if authorization
        .is_some_and(|authorization| defences.passwords.remembers(environment, users, authorization, now_ms))
    {
        return Ok(());
    }
    let wrong = Pour::new(1, WRONG_EACH, WRONG_AT_ONCE);
    let whose = (environment, &layer.name, "passwords", ClientKey::of(client));
    let tries = || defences.buckets.of(whose, defences.now_ns());
    // Before it is checked: checking is what costs, and each one takes its place out of the bucket
    // at once, so that many at the same time find no gap.
    if authorization.is_some()
        && let Err(wait) = tries().take(wrong, defences.now_ns())
    {
        let page = Page::too_many_passwords(&fence.title, wait);
        return fence.refuse(|refused| &refused.password, page);
    }
    match defences
        .passwords
        .check(environment, users, authorization, now_ms)
        .await
    {
        Verdict::Right => {
            tries().give_back(wrong);
            Ok(())
        }
        Verdict::Wrong | Verdict::Missing => {
            let page = Page::password_wanted(&fence.title);
            fence.refuse(|refused| &refused.password, page)
        }
        Verdict::Busy => {
            tries().give_back(wrong);
            Err(Page::passwords_busy())
        }
    }
}
