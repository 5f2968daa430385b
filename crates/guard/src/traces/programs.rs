//! The programs. Each is made anew from a seed.

use std::collections::BTreeSet;

use weir_model::guard::GuardRules;

use super::score::CALL_NANO;
use super::simulator::{Behaviour, Help, Outgoing, Service, Step, World};
use crate::descent::scatter;

const SECOND: u64 = 1_000_000;
const MILLI: u64 = 1_000;

/// Whether a trace is what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Nothing of it may be refused.
    Benign,
    /// It has to be stopped.
    Malign,
}

/// A program with its label.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    /// What it does.
    pub name: &'static str,
    /// What it is.
    pub label: Label,
    /// How long it runs, in microseconds.
    pub lasts_us: u64,
    /// Most that it may cost before it is stopped, in nano-units.
    pub most_nano: u64,
    /// Makes its world.
    pub world: fn(seed: u64, mode: Mode) -> World,
}

/// Whether the guard of a world refuses or only watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It refuses.
    Refuse,
    /// It watches and tells.
    Watch,
}

/// All traces.
pub fn traces() -> Vec<Trace> {
    let benign = |name, lasts_s: u64, world| Trace {
        name,
        label: Label::Benign,
        lasts_us: lasts_s * SECOND,
        most_nano: u64::MAX,
        world,
    };
    // The budget of a root, and a little.
    let malign = |name, lasts_s: u64, world| Trace {
        name,
        label: Label::Malign,
        lasts_us: lasts_s * SECOND,
        most_nano: 1_020 * CALL_NANO,
        world,
    };
    vec![
        benign("crawler with a visited set, budget declared", 120, crawler),
        benign("webhooks to 200 subscribers", 40, webhooks),
        benign("retries with back-off", 60, retries),
        benign("two services call each other, bounded", 30, mutual_bounded),
        benign("chain of 6 services under load", 20, chain),
        benign("cron storm", 100, cron_storm),
        benign("cron storm within the app itself", 100, cron_within),
        benign("batch job, 900 calls of its own API", 120, batch),
        benign("batch job, 900 calls at once", 60, batch_at_once),
        benign("gateway with 50 calls a query", 20, gateway),
        benign("gateway that queries itself", 20, gateway_of_itself),
        benign("poller of its own status page", 300, poller),
        benign("worker of a queue", 60, worker),
        benign("streams to 150 clients that poll for news", 300, streams),
        benign("batched queries, 250 calls each", 30, batched_queries),
        benign("health checks of its own public address", 300, health_checks),
        benign("sitemap made of its own pages", 120, sitemap),
        malign("incident, 2 links", 60, |seed, mode| incident(seed, mode, 2, None)),
        malign("incident, 3 links", 60, |seed, mode| incident(seed, mode, 3, None)),
        malign("incident, 10 links", 60, |seed, mode| incident(seed, mode, 10, None)),
        malign("incident, 50 links", 60, |seed, mode| incident(seed, mode, 50, None)),
        Trace {
            // Two of them at once, and the visitors cost as well.
            most_nano: 2_700 * CALL_NANO,
            ..malign("incident, 2 links, among visitors", 60, incident_among_visitors)
        },
        malign("recursion that waits for the answer", 120, recursion),
        malign("the same, lineage passed on", 60, recursion_with_help),
        malign("recursion that does not wait", 60, relay),
        malign("two services call each other forever", 60, mutual_forever),
        malign("two services multiply", 60, mutual_multiply),
        Trace {
            // Begun by three visitors.
            most_nano: 3_060 * CALL_NANO,
            ..malign("loop through a queue", 120, queue_loop)
        },
        malign("retries without a bound", 60, retry_storm),
        malign("fork after the answer", 60, fork_after_answer),
    ]
}

fn rules(mode: Mode) -> GuardRules {
    GuardRules {
        enabled: mode == Mode::Refuse,
        ..GuardRules::default()
    }
}

fn service(name: &'static str, instances: usize, mode: Mode) -> Service {
    Service {
        name,
        instances,
        most: instances,
        concurrency: 20,
        rules: rules(mode),
        help: Help::None,
    }
}

fn to(service: usize, content: u64) -> Outgoing {
    Outgoing {
        service,
        content,
        note: 0,
    }
}

fn noted(service: usize, content: u64, note: u64) -> Outgoing {
    Outgoing { service, content, note }
}

/// Half of it to one and a half times as much.
fn about(us: u64, random: u64) -> u64 {
    us / 2 + scatter(random) % us.max(1)
}

/// A program that answers after some work.
fn plain(us: u64) -> Behaviour {
    Box::new(move |_, random| vec![Step::Work(about(us, random))])
}

/// Visitors at random instants, so many a second, for so long.
fn visitors(world: &mut World, seed: u64, per_s: u64, seconds: u64, service: usize, note: u64) {
    for number in 0..per_s * seconds {
        let random = scatter(seed ^ number.rotate_left(20));
        world.visit(random % (seconds * SECOND), noted(service, random, note));
    }
}

fn crawler(seed: u64, mode: Mode) -> World {
    let mut visited = BTreeSet::from([0]);
    let behaviour: Behaviour = Box::new(move |ask, random| {
        let links = (0..6).map(|link| scatter(ask.content ^ (link << 40)) % 3_000);
        let new: Vec<Outgoing> = links
            .filter(|page| visited.insert(*page))
            .map(|page| to(0, page))
            .collect();
        vec![
            Step::Work(about(300 * MILLI, random)),
            Step::Call(new),
            Step::Work(10 * MILLI),
        ]
    });
    let mut declared = service("crawler", 2, mode);
    declared.most = 5;
    declared.rules.descendants = 5_000;
    let mut world = World::new(seed, vec![(declared, behaviour)]);
    world.visit(0, to(0, 0));
    world
}

fn webhooks(seed: u64, mode: Mode) -> World {
    let fan: Behaviour = Box::new(|ask, random| {
        let calls = (0..200)
            .map(|subscriber| to(1, scatter(ask.content ^ subscriber)))
            .collect();
        vec![
            Step::Work(about(20 * MILLI, random)),
            Step::Call(calls),
            Step::Work(10 * MILLI),
        ]
    });
    let services = vec![
        (service("events", 2, mode), fan),
        (service("hooks", 3, mode), plain(50 * MILLI)),
    ];
    let mut world = World::new(seed, services);
    visitors(&mut world, seed, 2, 30, 0, 0);
    world
}

fn retries(seed: u64, mode: Mode) -> World {
    let caller: Behaviour = Box::new(|ask, random| {
        let call = to(1, ask.content);
        vec![
            Step::Work(about(10 * MILLI, random)),
            Step::Insist {
                call,
                tries: 5,
                pause_us: 100 * MILLI,
            },
        ]
    });
    let shaky: Behaviour = Box::new(|_, random| {
        let end = if random.is_multiple_of(3) {
            Step::Answer
        } else {
            Step::Fail
        };
        vec![Step::Work(about(30 * MILLI, random)), end]
    });
    let mut world = World::new(
        seed,
        vec![(service("shop", 3, mode), caller), (service("stock", 2, mode), shaky)],
    );
    visitors(&mut world, seed, 20, 40, 0, 0);
    world
}

/// Each calls the other as often as the note says, then stops.
fn ping_pong(other: usize) -> Behaviour {
    Box::new(move |ask, random| match ask.note {
        0 => vec![Step::Work(about(10 * MILLI, random))],
        left => vec![
            Step::Work(about(5 * MILLI, random)),
            Step::Call(vec![noted(other, scatter(ask.content), left - 1)]),
            Step::Await,
            Step::Work(about(5 * MILLI, random)),
        ],
    })
}

fn mutual_bounded(seed: u64, mode: Mode) -> World {
    let services = vec![
        (service("orders", 4, mode), ping_pong(1)),
        (service("prices", 4, mode), ping_pong(0)),
    ];
    let mut world = World::new(seed, services);
    visitors(&mut world, seed, 80, 20, 0, 4);
    world
}

fn chain(seed: u64, mode: Mode) -> World {
    let names = ["edge", "api", "cart", "price", "stock", "audit", "store"];
    let services = names.iter().enumerate().map(|(number, name)| {
        let behaviour: Behaviour = Box::new(move |ask, random| {
            let mut steps = vec![Step::Work(about(8 * MILLI, random))];
            if number < 6 {
                steps.extend([Step::Call(vec![to(number + 1, ask.content)]), Step::Await]);
            }
            steps
        });
        (service(name, 2, mode), behaviour)
    });
    let mut world = World::new(seed, services.collect());
    visitors(&mut world, seed, 150, 15, 0, 0);
    world
}

/// A job that calls one after the other.
fn job(seed: u64, service: usize, calls: u64) -> Vec<Step> {
    let one = |number: u64| [Step::Call(vec![to(service, scatter(seed ^ number))]), Step::Await];
    (0..calls).flat_map(one).collect()
}

fn cron_storm(seed: u64, mode: Mode) -> World {
    let services = vec![
        (service("web", 3, mode), plain(40 * MILLI)),
        (service("cron", 1, mode), plain(MILLI)),
    ];
    let mut world = World::new(seed, services);
    visitors(&mut world, seed, 5, 90, 0, 0);
    for minute in [10, 70] {
        for number in 0..100 {
            world.job(
                minute * SECOND,
                1,
                0,
                job(scatter(seed ^ (minute << 32) ^ number), 0, 20),
            );
        }
    }
    world
}

fn cron_within(seed: u64, mode: Mode) -> World {
    let mut world = World::new(seed, vec![(service("web", 3, mode), plain(40 * MILLI))]);
    visitors(&mut world, seed, 5, 90, 0, 0);
    for minute in [10, 70] {
        for number in 0..60 {
            let instance = usize::try_from(number % 3).unwrap_or(0);
            world.job(
                minute * SECOND,
                0,
                instance,
                job(scatter(seed ^ (minute << 32) ^ number), 0, 20),
            );
        }
    }
    world
}

/// A request with note 1 makes 900 calls of the same service, so many at a time.
fn batches(at_a_time: u64) -> Behaviour {
    Box::new(move |ask, random| {
        if ask.note == 0 {
            return vec![Step::Work(about(30 * MILLI, random))];
        }
        let item = |number: u64| to(0, scatter(ask.content ^ number));
        let rounds = (0..900 / at_a_time).flat_map(|round| {
            let items = (0..at_a_time).map(|place| item(round * at_a_time + place)).collect();
            [Step::Call(items), Step::Await]
        });
        rounds.collect()
    })
}

fn batch(seed: u64, mode: Mode) -> World {
    let mut world = World::new(seed, vec![(service("api", 2, mode), batches(10))]);
    visitors(&mut world, seed, 5, 100, 0, 0);
    for number in 0..5 {
        world.visit(number * 20 * SECOND, noted(0, scatter(seed + number), 1));
    }
    world
}

fn batch_at_once(seed: u64, mode: Mode) -> World {
    let mut world = World::new(seed, vec![(service("api", 2, mode), batches(900))]);
    visitors(&mut world, seed, 5, 50, 0, 0);
    for number in 0..4 {
        world.visit(number * 3 * SECOND, noted(0, scatter(seed + number), 1));
    }
    world
}

fn fan_of_50(service: usize) -> Behaviour {
    Box::new(move |ask, random| {
        if ask.note == 0 {
            return vec![Step::Work(about(15 * MILLI, random))];
        }
        let calls = (0..50).map(|field| to(service, scatter(ask.content ^ field))).collect();
        vec![Step::Work(about(5 * MILLI, random)), Step::Call(calls), Step::Await]
    })
}

fn gateway(seed: u64, mode: Mode) -> World {
    let services = vec![
        (service("gateway", 2, mode), fan_of_50(1)),
        (service("api", 4, mode), plain(15 * MILLI)),
    ];
    let mut world = World::new(seed, services);
    visitors(&mut world, seed, 10, 15, 0, 1);
    world
}

fn gateway_of_itself(seed: u64, mode: Mode) -> World {
    let mut world = World::new(seed, vec![(service("gateway", 4, mode), fan_of_50(0))]);
    visitors(&mut world, seed, 10, 15, 0, 1);
    world
}

fn poller(seed: u64, mode: Mode) -> World {
    let mut world = World::new(seed, vec![(service("web", 1, mode), plain(20 * MILLI))]);
    visitors(&mut world, seed, 1, 280, 0, 0);
    let poll = |_| [Step::Call(vec![to(0, 7)]), Step::Await, Step::Work(200 * MILLI)];
    world.job(0, 0, 0, (0..1_300).flat_map(poll).collect());
    world
}

fn worker(seed: u64, mode: Mode) -> World {
    let services = vec![
        (service("api", 2, mode), plain(10 * MILLI)),
        (service("worker", 1, mode), plain(MILLI)),
    ];
    let mut world = World::new(seed, services);
    for thread in 0..4_u64 {
        let take = move |number: u64| {
            [
                Step::Call(vec![to(0, 1)]),
                Step::Await,
                Step::Call(vec![to(0, scatter(number ^ (thread << 40)))]),
                Step::Await,
            ]
        };
        world.job(thread * MILLI, 1, 0, (0..1_000).flat_map(take).collect());
    }
    world
}

/// Server-sent events: every client's request lasts for minutes, and asks another service for the
/// same news every other second.
fn streams(seed: u64, mode: Mode) -> World {
    let stream: Behaviour = Box::new(|_, random| {
        let poll = |_| [Step::Work(2 * SECOND), Step::Call(vec![to(1, 9)]), Step::Await];
        let began = Step::Work(scatter(random) % (2 * SECOND));
        std::iter::once(began).chain((0..130).flat_map(poll)).collect()
    });
    let mut live = service("live", 2, mode);
    live.concurrency = 100;
    let mut world = World::new(seed, vec![(live, stream), (service("news", 2, mode), plain(5 * MILLI))]);
    for client in 0..150 {
        world.visit(scatter(seed ^ client) % (20 * SECOND), to(0, client));
    }
    world
}

/// A batch of ten queries, each in three waves of calls of the app itself, and each of them asks
/// who its user is.
fn batched_queries(seed: u64, mode: Mode) -> World {
    let behaviour: Behaviour = Box::new(|ask, random| {
        if ask.note == 0 {
            return vec![Step::Work(about(8 * MILLI, random))];
        }
        let wave = |wave: u64| {
            let field = |number| to(0, scatter(ask.content ^ (wave << 32) ^ number));
            let user = (0..10).map(|_| to(0, ask.content | 1));
            [Step::Call((0..73).map(field).chain(user).collect()), Step::Await]
        };
        (0..3).flat_map(wave).collect()
    });
    let mut world = World::new(seed, vec![(service("graph", 4, mode), behaviour)]);
    visitors(&mut world, seed, 4, 25, 0, 1);
    world
}

/// Every instance asks for its own public address every five seconds, and every service for that
/// of the next.
fn health_checks(seed: u64, mode: Mode) -> World {
    let services = ["shop", "cart", "stock"].map(|name| (service(name, 3, mode), plain(15 * MILLI)));
    let mut world = World::new(seed, services.into());
    for service in 0..3 {
        visitors(&mut world, seed ^ (service as u64) << 40, 3, 280, service, 0);
        for instance in 0..3 {
            let check = |_| {
                let own_and_next = vec![to(service, 1), to((service + 1) % 3, 1)];
                [Step::Call(own_and_next), Step::Await, Step::Work(5 * SECOND)]
            };
            world.job(
                scatter(seed) % SECOND,
                service,
                instance,
                (0..56).flat_map(check).collect(),
            );
        }
    }
    world
}

/// One request has 300 pages of the app rendered, eight at a time, and each page two fragments.
fn sitemap(seed: u64, mode: Mode) -> World {
    let behaviour: Behaviour = Box::new(|ask, random| match ask.note {
        0 => vec![Step::Work(about(20 * MILLI, random))],
        1 => {
            let fragments = (0..2).map(|part| to(0, scatter(ask.content ^ (part << 20)))).collect();
            vec![
                Step::Work(about(20 * MILLI, random)),
                Step::Call(fragments),
                Step::Await,
            ]
        }
        _ => {
            let page = |number: u64| noted(0, scatter(ask.content ^ (number << 8)), 1);
            let eight = |first: u64| [Step::Call((first..first + 8).map(page).collect()), Step::Await];
            (0..38).flat_map(|round| eight(round * 8)).collect()
        }
    });
    let mut world = World::new(seed, vec![(service("site", 3, mode), behaviour)]);
    visitors(&mut world, seed, 6, 100, 0, 1);
    for number in 0..4 {
        world.visit((10 + number * 25) * SECOND, noted(0, scatter(seed + number), 2));
    }
    world
}

/// The 72,000-dollar night: every page is posted to the service itself, so many links each, one
/// of them back to the page that led there; nothing waits for the answers, nothing remembers
/// what was seen. `mode` and, for the bench, the rules.
pub fn incident(seed: u64, mode: Mode, links: u64, rules: Option<GuardRules>) -> World {
    let mut crawler = service("crawler", 1, mode);
    crawler.most = 1_000;
    crawler.concurrency = 80;
    crawler.rules = rules.unwrap_or(crawler.rules);
    let mut world = World::new(seed, vec![(crawler, pages(links))]);
    world.visit(0, noted(0, 1, 1));
    world
}

fn pages(links: u64) -> Behaviour {
    Box::new(move |ask, random| {
        if ask.note == 0 {
            return vec![Step::Work(about(50 * MILLI, random))];
        }
        // The note of a page is the page that led to it.
        let onward = (1..links).map(|link| noted(0, scatter(ask.content ^ (link << 48)) | 1, ask.content));
        let back = noted(0, ask.note, ask.content);
        let calls = onward.chain([back]).collect();
        vec![
            Step::Work(340 * MILLI + scatter(random) % (20 * MILLI)),
            Step::Call(calls),
            Step::Work(50 * MILLI),
        ]
    })
}

fn incident_among_visitors(seed: u64, mode: Mode) -> World {
    let mut world = incident(seed, mode, 2, None);
    visitors(&mut world, seed, 30, 50, 0, 0);
    world.visit(5 * SECOND, noted(0, 3, 1));
    world
}

fn calls_itself(seed: u64, mode: Mode, help: Help) -> World {
    let behaviour: Behaviour = Box::new(|ask, random| {
        vec![
            Step::Work(about(20 * MILLI, random)),
            Step::Call(vec![to(0, scatter(ask.content))]),
            Step::Await,
        ]
    });
    let mut tree = service("tree", 2, mode);
    tree.most = 64;
    tree.help = help;
    let mut world = World::new(seed, vec![(tree, behaviour)]);
    world.visit(0, to(0, seed));
    world
}

fn recursion(seed: u64, mode: Mode) -> World {
    calls_itself(seed, mode, Help::None)
}

fn recursion_with_help(seed: u64, mode: Mode) -> World {
    calls_itself(seed, mode, Help::Lineage)
}

/// Calls the other service and answers, without waiting for it.
fn hand_over(other: usize) -> Behaviour {
    Box::new(move |ask, random| {
        vec![
            Step::Work(about(10 * MILLI, random)),
            Step::Call(vec![to(other, scatter(ask.content))]),
            Step::Work(about(5 * MILLI, random) + MILLI),
        ]
    })
}

fn relay(seed: u64, mode: Mode) -> World {
    let mut world = World::new(seed, vec![(service("relay", 3, mode), hand_over(0))]);
    world.visit(0, to(0, seed));
    world
}

fn mutual_forever(seed: u64, mode: Mode) -> World {
    let services = vec![
        (service("orders", 2, mode), hand_over(1)),
        (service("prices", 2, mode), hand_over(0)),
    ];
    let mut world = World::new(seed, services);
    world.visit(0, to(0, seed));
    world.visit(2 * SECOND, to(0, seed + 1));
    world
}

fn mutual_multiply(seed: u64, mode: Mode) -> World {
    let twice = |other: usize| -> Behaviour {
        Box::new(move |ask, random| {
            let calls = (0..2)
                .map(|number| to(other, scatter(ask.content ^ (number << 50))))
                .collect();
            vec![
                Step::Work(about(100 * MILLI, random)),
                Step::Call(calls),
                Step::Work(10 * MILLI),
            ]
        })
    };
    let mut world = World::new(
        seed,
        vec![
            (service("orders", 20, mode), twice(1)),
            (service("prices", 20, mode), twice(0)),
        ],
    );
    world.visit(0, to(0, seed));
    world
}

/// Answers at once; a thread of the app takes what was asked from a queue and asks for one or two
/// more things.
fn queue_loop(seed: u64, mode: Mode) -> World {
    let behaviour: Behaviour = Box::new(|ask, random| {
        let more = 1 + scatter(random) % 2;
        let calls = (0..more)
            .map(|number| to(0, scatter(ask.content ^ (number << 50))))
            .collect();
        vec![
            Step::Work(5 * MILLI),
            Step::Answer,
            Step::Work(about(600 * MILLI, random)),
            Step::Call(calls),
        ]
    });
    let mut world = World::new(seed, vec![(service("queue", 3, mode), behaviour)]);
    visitors(&mut world, seed, 1, 3, 0, 0);
    world
}

fn retry_storm(seed: u64, mode: Mode) -> World {
    let caller: Behaviour = Box::new(|ask, _| {
        vec![Step::Insist {
            call: to(1, ask.content),
            tries: u32::MAX,
            pause_us: 0,
        }]
    });
    let broken: Behaviour = Box::new(|_, random| vec![Step::Work(about(5 * MILLI, random)), Step::Fail]);
    let mut world = World::new(
        seed,
        vec![(service("shop", 2, mode), caller), (service("stock", 2, mode), broken)],
    );
    visitors(&mut world, seed, 1, 10, 0, 0);
    world
}

fn fork_after_answer(seed: u64, mode: Mode) -> World {
    let behaviour: Behaviour = Box::new(|ask, random| {
        let calls = (0..2)
            .map(|number| to(0, scatter(ask.content ^ (number << 50))))
            .collect();
        vec![
            Step::Work(20 * MILLI),
            Step::Answer,
            Step::Work(about(400 * MILLI, random)),
            Step::Call(calls),
        ]
    });
    let mut world = World::new(seed, vec![(service("forks", 4, mode), behaviour)]);
    world.visit(0, to(0, seed));
    world
}
