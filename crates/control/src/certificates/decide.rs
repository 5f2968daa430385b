//! What to do next about certificates: pure, so that it can be simulated over years.
//!
//! Every name gets its certificate in the end: a name that does not lead here is looked at again
//! and again, one that the authority refuses is tried with growing pauses up to a day, and nothing
//! is given up. What authorities count is counted here too, and stays below their limits.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{CertificateId, UnixMillis};

use super::names;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Longest pause between two looks where a name leads; a look costs nobody much.
const LONGEST_LOOK_PAUSE_MS: i64 = HOUR_MS;
/// Longest pause after refusals of the authority.
const LONGEST_PAUSE_MS: i64 = DAY_MS;
/// Longest pause after an authority could not be reached.
const LONGEST_AWAY_MS: i64 = HOUR_MS;
/// So many names of one registered domain get certificates of their own; more share some.
const SINGLE: usize = 4;

/// How an authority is shown that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    /// The node answers under the name.
    Node,
    /// A record in its zone.
    Dns,
}

/// A name that is to have a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    /// What authorities limit by.
    pub(super) registered: String,
    pub(super) proof: Proof,
}

/// A certificate that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) id: CertificateId,
    pub(super) names: Vec<String>,
    pub(super) not_before_ms: UnixMillis,
    pub(super) not_after_ms: UnixMillis,
    /// When the authority wants it to be renewed.
    pub(super) renew_ms: Option<UnixMillis>,
    /// Somebody brought it; it is not ours to renew.
    pub(super) uploaded: bool,
}

impl Held {
    /// When it is renewed: at two thirds of its life, or when the authority asks for it, but not
    /// after three quarters.
    pub(super) fn due_ms(&self) -> UnixMillis {
        let life = self.not_after_ms - self.not_before_ms;
        let at = |part: i64, of: i64| self.not_before_ms + life / of * part;
        self.renew_ms.map_or(at(2, 3), |asked| asked.min(at(3, 4)))
    }
}

/// What went wrong with a name lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tried {
    /// How often in a row it did not lead here.
    pub(super) looks: u32,
    /// How often in a row the authority refused it.
    pub(super) failures: u32,
    pub(super) next_ms: UnixMillis,
}

impl Tried {
    /// It does not lead here. `random` is any number.
    pub(super) fn led_elsewhere(self, now_ms: UnixMillis, random: u64) -> Self {
        Self {
            looks: self.looks.saturating_add(1),
            next_ms: now_ms + pause_ms(self.looks, LONGEST_LOOK_PAUSE_MS, random),
            ..self
        }
    }

    /// The authority refused it.
    pub(super) fn refused(self, now_ms: UnixMillis, random: u64) -> Self {
        Self {
            looks: 0,
            failures: self.failures.saturating_add(1),
            next_ms: now_ms + pause_ms(self.failures, LONGEST_PAUSE_MS, random),
        }
    }
}

/// The pause after an authority could not be reached so many times before.
pub(super) fn away_pause_ms(before: u32, random: u64) -> i64 {
    pause_ms(before, LONGEST_AWAY_MS, random)
}

/// A minute, doubled each time, and of that a random part between three quarters and all.
fn pause_ms(before: u32, longest_ms: i64, random: u64) -> i64 {
    let whole = MINUTE_MS
        .checked_shl(before.min(20))
        .map_or(longest_ms, |pause| pause.min(longest_ms));
    let quarter = whole / 4;
    let part = i64::try_from(random % 1_000).unwrap_or(0);
    whole - quarter + quarter * part / 1_000
}

/// What an authority said to be over its limits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The account: everything.
    Account,
    /// A registered domain, and what is below it.
    Domain(String),
    /// One name.
    Name(String),
}

/// So many in a stretch of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) number: usize,
    pub(super) stretch_ms: i64,
}

impl Rate {
    /// From when on one more is allowed, after those that were.
    fn free_ms(self, past: &[UnixMillis], more: usize, now_ms: UnixMillis) -> UnixMillis {
        let recent = past.iter().filter(|at| **at > now_ms - self.stretch_ms);
        let mut recent: Vec<UnixMillis> = recent.copied().collect();
        recent.sort_unstable();
        let over = (recent.len() + more + 1).saturating_sub(self.number);
        match over.checked_sub(1) {
            None => now_ms,
            // What is under way is as if it were now.
            Some(last) => recent.get(last).copied().unwrap_or(now_ms) + self.stretch_ms,
        }
    }
}

/// What we allow ourselves; a little less than the authority does, because others may share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Orders of the account.
    pub(super) orders: Rate,
    /// Certificates of one registered domain.
    pub(super) certificates: Rate,
    /// Failed validations of one name.
    pub(super) failures: Rate,
    /// Orders that are under way at once.
    pub(super) at_once: usize,
    /// Names in one certificate.
    pub(super) names: usize,
}

impl Limits {
    /// Below those of Let's Encrypt: 300 orders in 3 hours, 50 certificates of a registered domain
    /// a week, 5 failed validations of a name an hour, 100 names.
    pub(super) const USUAL: Self = Self {
        orders: Rate {
            number: 270,
            stretch_ms: 3 * HOUR_MS,
        },
        certificates: Rate {
            number: 45,
            stretch_ms: 7 * DAY_MS,
        },
        failures: Rate {
            number: 4,
            stretch_ms: HOUR_MS,
        },
        at_once: 8,
        names: 50,
    };

    /// Of an authority of one's own, which says itself what is too much.
    pub(super) const PRIVATE: Self = Self {
        orders: Rate {
            number: 10_000,
            stretch_ms: 3 * HOUR_MS,
        },
        certificates: Rate {
            number: 10_000,
            stretch_ms: 7 * DAY_MS,
        },
        at_once: 16,
        ..Self::USUAL
    };

    /// Nothing older than this counts.
    pub(super) fn longest_ms(&self) -> i64 {
        let stretches = [self.orders, self.certificates, self.failures].map(|rate| rate.stretch_ms);
        stretches.into_iter().max().unwrap_or(0)
    }
}

/// What authorities have counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Spent {
    pub(super) orders: Vec<UnixMillis>,
    /// By registered domain.
    pub(super) certificates: BTreeMap<String, Vec<UnixMillis>>,
    /// By name.
    pub(super) failures: BTreeMap<String, Vec<UnixMillis>>,
    /// What the authority does not want to hear of, and until when.
    pub(super) barred: BTreeMap<Subject, UnixMillis>,
}

/// An order for one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) names: Vec<String>,
    pub(super) registered: String,
    pub(super) proof: Proof,
    /// The certificate whose place it takes.
    pub(super) replaces: Option<CertificateId>,
}

/// All that a decision is made of.
#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) wanted: &'a [Wanted],
    pub(super) held: &'a [Held],
    pub(super) tried: &'a BTreeMap<String, Tried>,
    pub(super) spent: &'a Spent,
    pub(super) under_way: &'a [Order],
    pub(super) limits: Limits,
}

/// How a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// An order is under way.
    UnderWay,
    /// It waits for its turn.
    Queued,
    /// It is tried again then.
    Pausing(UnixMillis),
    /// A limit of the authority is reached until then.
    Limited(UnixMillis),
    /// It has its certificate, and the next is asked for then.
    Covered(UnixMillis),
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Orders to begin now.
    pub(super) orders: Vec<Order>,
    /// When to decide again, if nothing happens before.
    pub(super) next_ms: Option<UnixMillis>,
    /// How each name stands.
    pub(super) standings: BTreeMap<String, Standing>,
}

impl Plan {
    fn stand(&mut self, name: &str, standing: Standing) {
        if let Standing::Pausing(at) | Standing::Limited(at) | Standing::Covered(at) = standing {
            self.next_ms = Some(self.next_ms.map_or(at, |next| next.min(at)));
        }
        self.standings.insert(name.to_owned(), standing);
    }
}

/// The certificate that a name has for the longest time.
pub(super) fn certificate_of<'a>(held: &'a [Held], name: &str) -> Option<&'a Held> {
    held.iter()
        .filter(|held| held.names.iter().any(|pattern| names::covers(pattern, name)))
        .max_by_key(|held| (held.not_after_ms, held.id))
}

/// Looks at everything and says what to do next.
pub(super) fn decide(world: &World<'_>, now_ms: UnixMillis) -> Plan {
    let mut plan = Plan::default();
    let ready = ready(world, now_ms, &mut plan);
    let mut begun: Vec<Order> = world.under_way.to_vec();
    let mut free = world.limits.at_once.saturating_sub(begun.len());
    for order in in_orders(ready, world.limits.names) {
        let until = limited_until(world, &begun[world.under_way.len()..], &begun, &order, now_ms);
        let standing = match until {
            Some(until) => Standing::Limited(until),
            None if free == 0 => Standing::Queued,
            None => Standing::UnderWay,
        };
        for name in &order.names {
            plan.stand(name, standing);
        }
        if standing == Standing::UnderWay {
            free -= 1;
            begun.push(order.clone());
            plan.orders.push(order);
        }
    }
    plan
}

/// A name whose turn it is.
#[derive(Debug)]
struct Ready<'a> {
    wanted: &'a Wanted,
    /// The certificate that ends.
    old: Option<&'a Held>,
    tried: Tried,
}

/// Those that need a certificate and may be tried now; how the others stand is noted. What is to
/// be renewed comes first, then whoever has waited longest.
fn ready<'a>(world: &World<'a>, now_ms: UnixMillis, plan: &mut Plan) -> Vec<Ready<'a>> {
    let under_way: BTreeSet<&str> = world
        .under_way
        .iter()
        .flat_map(|order| order.names.iter().map(String::as_str))
        .collect();
    let by_name = longest_by_name(world.held);
    let mut ready = Vec::new();
    for wanted in world.wanted {
        let name = wanted.name.as_str();
        if under_way.contains(name) {
            plan.stand(name, Standing::UnderWay);
            continue;
        }
        let old = longest_of(&by_name, name).filter(|old| old.not_after_ms > now_ms);
        // An uploaded one is not ours to renew; when it has ended, the name needs one again.
        let due_ms = old.map(|old| if old.uploaded { old.not_after_ms } else { old.due_ms() });
        if let Some(due_ms) = due_ms.filter(|due_ms| *due_ms > now_ms) {
            plan.stand(name, Standing::Covered(due_ms));
            continue;
        }
        let tried = world.tried.get(name).copied().unwrap_or_default();
        if tried.next_ms > now_ms {
            plan.stand(name, Standing::Pausing(tried.next_ms));
            continue;
        }
        let failures = world.spent.failures.get(name).map_or(&[][..], Vec::as_slice);
        let free_ms = world.limits.failures.free_ms(failures, 0, now_ms);
        let barred = world.spent.barred.get(&Subject::Name(name.to_owned()));
        let free_ms = barred.map_or(free_ms, |barred| free_ms.max(*barred));
        if free_ms > now_ms {
            plan.stand(name, Standing::Limited(free_ms));
            continue;
        }
        ready.push(Ready { wanted, old, tried });
    }
    ready.sort_by_key(|ready| (ready.old.is_none(), ready.tried.next_ms, &ready.wanted.name));
    ready
}

/// By the text of a name in a certificate, that which lasts longest.
fn longest_by_name(held: &[Held]) -> BTreeMap<&str, &Held> {
    let mut by_name: BTreeMap<&str, &Held> = BTreeMap::new();
    for held in held {
        for name in &held.names {
            let longest = by_name.entry(name).or_insert(held);
            if (held.not_after_ms, held.id) > (longest.not_after_ms, longest.id) {
                *longest = held;
            }
        }
    }
    by_name
}

fn longest_of<'a>(by_name: &BTreeMap<&str, &'a Held>, name: &str) -> Option<&'a Held> {
    let exact = by_name.get(name).copied();
    let wildcard = names::wildcard_of(name).and_then(|wildcard| by_name.get(wildcard.as_str()).copied());
    exact
        .into_iter()
        .chain(wildcard)
        .max_by_key(|held| (held.not_after_ms, held.id))
}

/// Who shares a certificate: the names of one that is to be renewed, and new ones where many have
/// the same registered domain. A name that was refused goes alone, so that it spoils nothing.
fn in_orders(ready: Vec<Ready<'_>>, most: usize) -> Vec<Order> {
    type Company<'a> = (&'a str, Proof, Option<CertificateId>);
    let mut companies: Vec<(Option<Company<'_>>, Vec<Ready<'_>>)> = Vec::new();
    let mut places: BTreeMap<Company<'_>, usize> = BTreeMap::new();
    for ready in ready {
        let registered = ready.wanted.registered.as_str();
        let company = (registered, ready.wanted.proof, ready.old.map(|old| old.id));
        if ready.tried.failures > 0 {
            companies.push((None, vec![ready]));
            continue;
        }
        let place = *places.entry(company).or_insert_with(|| {
            companies.push((Some(company), Vec::new()));
            companies.len() - 1
        });
        companies[place].1.push(ready);
    }
    let mut orders = Vec::new();
    for (company, members) in companies {
        let renewal = company.is_some_and(|(_, _, old)| old.is_some());
        let size = if renewal || members.len() > SINGLE { most } else { 1 };
        for chunk in members.chunks(size.max(1)) {
            let Some(first) = chunk.first() else { continue };
            orders.push(Order {
                names: chunk.iter().map(|ready| ready.wanted.name.clone()).collect(),
                registered: first.wanted.registered.clone(),
                proof: first.wanted.proof,
                replaces: first.old.filter(|old| !old.uploaded).map(|old| old.id),
            });
        }
    }
    orders
}

/// Until when limits stand against an order. `begun` are those of this plan, which were not counted
/// yet; `unfinished` all that may become certificates.
fn limited_until(
    world: &World<'_>,
    begun: &[Order],
    unfinished: &[Order],
    order: &Order,
    now_ms: UnixMillis,
) -> Option<UnixMillis> {
    let (limits, spent) = (&world.limits, world.spent);
    let same = unfinished.iter().filter(|other| other.registered == order.registered);
    let certificates = spent.certificates.get(&order.registered);
    let certificates = certificates.map_or(&[][..], Vec::as_slice);
    let barred = [Subject::Account, Subject::Domain(order.registered.clone())]
        .map(|subject| spent.barred.get(&subject).copied().unwrap_or(now_ms));
    let until = limits
        .orders
        .free_ms(&spent.orders, begun.len(), now_ms)
        .max(limits.certificates.free_ms(certificates, same.count(), now_ms))
        .max(barred[0])
        .max(barred[1]);
    (until > now_ms).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_000 * DAY_MS;

    fn wanted(name: &str) -> Wanted {
        Wanted {
            name: name.to_owned(),
            registered: names::registered(name),
            proof: Proof::Node,
        }
    }

    fn held(number: u128, name: &str, from_days: i64, days: i64) -> Held {
        Held {
            id: CertificateId::from_parts(NOW, number),
            names: vec![name.to_owned()],
            not_before_ms: NOW + from_days * DAY_MS,
            not_after_ms: NOW + (from_days + days) * DAY_MS,
            renew_ms: None,
            uploaded: false,
        }
    }

    fn plan(wanted: &[Wanted], held: &[Held], spent: &Spent) -> Plan {
        let world = World {
            wanted,
            held,
            tried: &BTreeMap::new(),
            spent,
            under_way: &[],
            limits: Limits::USUAL,
        };
        decide(&world, NOW)
    }

    #[test]
    fn pauses_grow_from_a_minute_to_a_day() {
        let mut tried = Tried::default();
        let mut pauses = Vec::new();
        for _ in 0..20 {
            tried = tried.refused(NOW, 1_000 - 1);
            pauses.push((tried.next_ms - NOW) / MINUTE_MS);
        }
        assert_eq!(pauses[..5], [0, 1, 3, 7, 15], "a hair below 1, 2, 4, 8, 16");
        assert!(pauses[15..].iter().all(|pause| *pause == 24 * 60 - 1), "{pauses:?}");
        let shortest = Tried::default().refused(NOW, 0).next_ms - NOW;
        assert_eq!(shortest, MINUTE_MS * 3 / 4);
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_or_when_the_authority_asks() {
        let name = [wanted("a.example.org")];
        let young = held(1, "a.example.org", -59, 90);
        let old = held(1, "a.example.org", -60, 90);
        let covered = plan(&name, std::slice::from_ref(&young), &Spent::default());
        assert_eq!(covered.orders, []);
        assert_eq!(covered.next_ms, Some(NOW + DAY_MS));
        let renewed = plan(&name, std::slice::from_ref(&old), &Spent::default());
        assert_eq!(renewed.orders[0].replaces, Some(old.id));
        let asked = Held {
            renew_ms: Some(NOW - 1),
            ..young.clone()
        };
        assert_eq!(plan(&name, &[asked], &Spent::default()).orders.len(), 1);
        let late = Held {
            renew_ms: Some(NOW + 30 * DAY_MS),
            ..young
        };
        assert_eq!(late.due_ms(), NOW + (90 * 3 / 4 - 59) * DAY_MS + DAY_MS / 2);
    }

    #[test]
    fn an_uploaded_certificate_and_a_wildcard_cover_names_until_they_end() {
        let names = [wanted("a.example.org"), wanted("b.a.example.org")];
        let uploaded = Held {
            uploaded: true,
            ..held(1, "*.example.org", -80, 90)
        };
        let plan_now = plan(&names, std::slice::from_ref(&uploaded), &Spent::default());
        assert_eq!(
            plan_now.standings["a.example.org"],
            Standing::Covered(NOW + 10 * DAY_MS)
        );
        assert_eq!(plan_now.orders[0].names, ["b.a.example.org"], "one label and no more");
        let ended = Held {
            not_after_ms: NOW,
            ..uploaded
        };
        let plan_then = plan(&names, &[ended], &Spent::default());
        assert_eq!(plan_then.orders.len(), 2);
        assert!(plan_then.orders.iter().all(|order| order.replaces.is_none()));
    }

    #[test]
    fn many_names_of_one_domain_share_certificates_and_those_of_many_do_not() {
        let same: Vec<Wanted> = (0..300).map(|n| wanted(&format!("s{n}.example.org"))).collect();
        let sizes: Vec<usize> = plan(&same, &[], &Spent::default())
            .orders
            .iter()
            .map(|order| order.names.len())
            .collect();
        assert_eq!(sizes, [50; 6]);
        let others: Vec<Wanted> = (0..300).map(|n| wanted(&format!("shop{n}.com"))).collect();
        let orders = plan(&others, &[], &Spent::default());
        assert_eq!(orders.orders.len(), Limits::USUAL.at_once);
        let queued = |standing: &&Standing| **standing == Standing::Queued;
        let waiting = orders.standings.values().filter(queued).count();
        assert_eq!(waiting + Limits::USUAL.at_once, 300);
    }

    #[test]
    fn what_the_authority_says_wins() {
        let names = [
            wanted("a.example.org"),
            wanted("b.example.org"),
            wanted("c.example.com"),
        ];
        let barred = BTreeMap::from([
            (Subject::Domain("example.org".to_owned()), NOW + 5),
            (Subject::Name("a.example.org".to_owned()), NOW + 9),
        ]);
        let spent = Spent {
            barred,
            ..Spent::default()
        };
        let limited = plan(&names, &[], &spent);
        assert_eq!(limited.standings["a.example.org"], Standing::Limited(NOW + 9));
        assert_eq!(limited.standings["b.example.org"], Standing::Limited(NOW + 5));
        assert_eq!(limited.standings["c.example.com"], Standing::UnderWay);
        assert_eq!(limited.next_ms, Some(NOW + 5));
    }

    #[test]
    fn a_rate_counts_what_is_young_enough() {
        let rate = Rate {
            number: 2,
            stretch_ms: 100,
        };
        assert_eq!(rate.free_ms(&[], 0, 1_000), 1_000);
        assert_eq!(rate.free_ms(&[950], 0, 1_000), 1_000);
        assert_eq!(rate.free_ms(&[950, 960], 0, 1_000), 1_050);
        assert_eq!(rate.free_ms(&[950, 960, 970], 0, 1_000), 1_060);
        assert_eq!(rate.free_ms(&[900, 960], 0, 1_000), 1_000);
        assert_eq!(rate.free_ms(&[950], 1, 1_000), 1_050);
        assert_eq!(rate.free_ms(&[], 2, 1_000), 1_100, "what is under way frees it last");
    }
}
