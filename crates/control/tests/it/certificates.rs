//! Certificates from a real authority: by each way to show that a name is ours, with everything that
//! goes wrong on the way, and without anybody's help afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_control::certificates::{self, Certificates};
use weir_control::clock::{Clock, SystemClock};
use weir_control::{Config, Context};
use weir_model::certificate::CertificateSet;
use weir_store::CountedKind;

use crate::harness::Control;
use crate::pebble::{self, Authority, Manner, Named};

const DOMAINS: &str = "/v1/projects/shop/environments/production/domains";
const AUTHORITY: &str = "/v1/certificate-authority";

/// The machine's clock, which a test can move on.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Ahead {
    fn by(&self, pause: Duration) {
        let ms = i64::try_from(pause.as_millis()).unwrap();
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

struct World {
    control: Control,
    clock: Arc<Ahead>,
}

impl World {
    /// Control with the project `shop` and the part that gets certificates; a node takes what it says.
    async fn start() -> Self {
        Self::start_with(|config| config).await
    }

    async fn start_with(change: impl FnOnce(Config) -> Config) -> Self {
        let clock = Arc::new(Ahead::default());
        let mut control = Control::start_by(clock.clone()).await;
        control.context.config = Arc::new(change((*control.context.config).clone()));
        control.project("shop").await;
        tokio::spawn(certificates::run(control.context.clone()));
        pebble::node(&control.context.certificates);
        Self { control, clock }
    }

    fn certificates(&self) -> &Certificates {
        &self.control.context.certificates
    }

    async fn ask(&self, authority: &Authority) {
        self.ask_with(authority.settings()).await;
    }

    async fn ask_with(&self, settings: Value) {
        let (status, told) = self.control.call(Method::PUT, AUTHORITY, Some(settings)).await;
        assert_eq!(status, StatusCode::OK, "{told}");
    }

    async fn add(&self, hosts: &[&str]) -> Value {
        let (status, told) = self
            .control
            .call(Method::PUT, DOMAINS, Some(json!({"hosts": hosts})))
            .await;
        assert_eq!(status, StatusCode::OK, "{told}");
        told
    }

    async fn certificate(&self, host: &str) -> Value {
        let (_, told) = self.control.call(Method::GET, &format!("{DOMAINS}/{host}"), None).await;
        told["certificate"].clone()
    }

    /// How a host stands, once it is so.
    async fn until(&self, host: &str, state: &str) -> Value {
        let mut told = Value::Null;
        for _ in 0..600 {
            told = self.certificate(host).await;
            if told["state"] == state {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{host} never became {state}: {told}");
    }

    async fn retry(&self, host: &str) {
        let (status, _) = self
            .control
            .call(Method::POST, &format!("{DOMAINS}/{host}/retry"), None)
            .await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }

    /// Orders that were placed; what the authority hears is more, because it refuses some nonces.
    async fn orders(&self) -> usize {
        let counted = self.control.context.store.certificate_count_list(0).await.unwrap();
        counted.iter().filter(|count| count.kind == CountedKind::Order).count()
    }

    fn set(&self) -> Arc<CertificateSet> {
        self.certificates().subscribe().borrow().clone()
    }

    fn in_force(&self, host: &str) -> usize {
        let set = self.set();
        let has = |name: &String| name == host;
        set.certificates.iter().filter(|one| one.names.iter().any(has)).count()
    }
}

#[tokio::test]
async fn nothing_is_asked_before_somebody_agrees_to_the_terms_and_never_for_names_of_the_machine() {
    let authority = Authority::start().await;
    let world = World::start().await;
    world.add(&["a.weir-test.org"]).await;
    let told = world.until("a.weir-test.org", "none").await;
    assert!(told["hint"].as_str().unwrap().contains("--agree-terms"), "{told}");
    let mut settings = authority.settings();
    settings["agree_terms"] = json!(false);
    let (status, told) = world.control.call(Method::PUT, AUTHORITY, Some(settings)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{told}");
    assert_eq!(authority.ordered(), 0);
    pebble::http_door(world.certificates(), authority.http_port).await;
    world.ask(&authority).await;
    world.until("a.weir-test.org", "valid").await;
    let told = world.certificate("shop.localhost").await;
    assert_eq!(told["state"], "none", "{told}");
    assert_eq!(world.orders().await, 1);
    let set = world.set();
    assert_eq!(set.certificates[0].names, ["a.weir-test.org"]);
    assert_eq!(
        set.challenges.len(),
        1,
        "questions that were answered are closed: {:?}",
        set.challenges
    );
    // Nothing in the database opens without the key file.
    let database = std::fs::read(world.control.folder.path().join("weir.db")).unwrap();
    let wal = std::fs::read(world.control.folder.path().join("weir.db-wal")).unwrap_or_default();
    let holds = |text: &[u8]| {
        [&database, &wal]
            .iter()
            .any(|file| file.windows(text.len()).any(|part| part == text))
    };
    assert!(!holds(b"PRIVATE KEY") && !holds(b"key_pkcs8"));
    assert!(holds(b"BEGIN CERTIFICATE"), "the search works");
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_costs_no_attempt_and_gets_its_certificate_once_it_is_mended() {
    let authority = Authority::start().await;
    let world = World::start().await;
    pebble::http_door(world.certificates(), authority.http_port).await;
    authority.tell("set-default-ipv4", json!({"ip": ""})).await;
    world.ask(&authority).await;
    world.add(&["lost.weir-test.org"]).await;
    let told = world.until("lost.weir-test.org", "failing").await;
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("DNS knows no address of lost.weir-test.org"),
        "{told}"
    );
    let elsewhere = axum::Router::new().fallback(|| async { "welcome to somebody else" });
    let listener = tokio::net::TcpListener::bind(("127.0.0.2", authority.http_port))
        .await
        .unwrap();
    tokio::spawn(async move { axum::serve(listener, elsewhere).await });
    let lead = |address: &'static str| json!({"host": "lost.weir-test.org.", "addresses": [address]});
    authority.tell("add-a", lead("127.0.0.2")).await;
    world.retry("lost.weir-test.org").await;
    for _ in 0..100 {
        let told = world.certificate("lost.weir-test.org").await;
        if told["detail"]
            .as_str()
            .unwrap()
            .contains("127.0.0.2, where something else")
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = world.certificate("lost.weir-test.org").await;
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("127.0.0.2, where something else"),
        "{told}"
    );
    assert_eq!(authority.ordered(), 0, "the authority heard nothing of it");
    authority.tell("clear-a", json!({"host": "lost.weir-test.org."})).await;
    authority.tell("add-a", lead("127.0.0.1")).await;
    // Nobody asks for it: the pause of a minute or two is over some day.
    world.clock.by(Duration::from_secs(150));
    world.certificates().reload();
    let told = world.until("lost.weir-test.org", "valid").await;
    assert_eq!(told.get("hint"), None, "{told}");
}

#[tokio::test]
async fn a_refusal_of_the_authority_is_told_in_its_words_and_tried_again_later() {
    let authority = Authority::start().await;
    let world = World::start().await;
    // We are told that the address is ours and look no closer; there nobody answers.
    let mut settings = authority.settings();
    settings["addresses"] = json!(["127.0.0.1"]);
    world.ask_with(settings).await;
    world.add(&["deaf.weir-test.org"]).await;
    let told = world.until("deaf.weir-test.org", "failing").await;
    assert!(
        told["detail"].as_str().unwrap().starts_with("the authority says: "),
        "{told}"
    );
    let next: jiff::Timestamp = told["next"].as_str().unwrap().parse().unwrap();
    let pause_ms = next.as_millisecond() - world.clock.now_ms();
    assert!((20_000..=60_000).contains(&pause_ms), "{pause_ms}");
    let counted = world.control.context.store.certificate_count_list(0).await.unwrap();
    assert_eq!(counted.len(), 2, "an order and a failure: {counted:?}");
    pebble::http_door(world.certificates(), authority.http_port).await;
    world.clock.by(Duration::from_secs(60));
    world.certificates().reload();
    world.until("deaf.weir-test.org", "valid").await;
    assert_eq!(world.orders().await, 2);
}

#[tokio::test]
async fn a_limit_of_the_authority_is_told_with_its_end_and_what_waits_goes_on_by_itself() {
    let authority = Authority::start().await;
    let world = World::start().await;
    pebble::http_door(world.certificates(), authority.http_port).await;
    authority.be(Manner::Limited(7_200));
    world.ask(&authority).await;
    world.add(&["busy.weir-test.org"]).await;
    let told = world.until("busy.weir-test.org", "limited").await;
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("too many new orders recently"),
        "{told}"
    );
    let next: jiff::Timestamp = told["next"].as_str().unwrap().parse().unwrap();
    let pause_s = (next.as_millisecond() - world.clock.now_ms()) / 1_000;
    assert!((7_150..=7_200).contains(&pause_s), "{pause_s}");
    authority.be(Manner::Pass);
    // Neither somebody's wish nor another name gets around it.
    world.add(&["other.weir-test.com"]).await;
    world.retry("busy.weir-test.org").await;
    world.until("other.weir-test.com", "limited").await;
    assert_eq!(authority.ordered(), 1);
    world.clock.by(Duration::from_secs(7_201));
    world.certificates().reload();
    world.until("busy.weir-test.org", "valid").await;
    world.until("other.weir-test.com", "valid").await;
}

#[tokio::test]
async fn an_authority_that_is_away_is_nobodys_fault_and_asked_again() {
    let authority = Authority::start().await;
    let world = World::start().await;
    pebble::http_door(world.certificates(), authority.http_port).await;
    authority.be(Manner::Broken);
    world.ask(&authority).await;
    world.add(&["early.weir-test.org", "late.weir-test.org"]).await;
    let told = world.until("early.weir-test.org", "failing").await;
    let words = told["detail"].as_str().unwrap();
    assert!(words.starts_with("no certificates can be had now: "), "{told}");
    assert_eq!(world.control.context.store.certificate_name_list().await.unwrap(), []);
    authority.be(Manner::Pass);
    world.clock.by(Duration::from_secs(61));
    world.certificates().reload();
    world.until("early.weir-test.org", "valid").await;
    world.until("late.weir-test.org", "valid").await;
}

#[tokio::test]
async fn where_only_tls_is_open_the_question_is_answered_in_the_handshake() {
    let authority = Authority::start().await;
    let world = World::start().await;
    pebble::tls_door(world.certificates(), authority.tls_port).await;
    world.ask(&authority).await;
    world.add(&["closed.weir-test.org"]).await;
    world.until("closed.weir-test.org", "valid").await;
    assert_eq!(world.orders().await, 1, "by the first attempt");
}

#[tokio::test]
async fn without_a_node_nothing_is_asked() {
    let authority = Authority::start().await;
    let control = Control::start().await;
    control.project("shop").await;
    tokio::spawn(certificates::run(control.context.clone()));
    let world = World {
        control,
        clock: Arc::default(),
    };
    world.ask(&authority).await;
    world.add(&["a.weir-test.org"]).await;
    world.until("a.weir-test.org", "issuing").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(authority.ordered(), 0);
    pebble::http_door(world.certificates(), authority.http_port).await;
    pebble::node(world.certificates());
    world.until("a.weir-test.org", "valid").await;
}

#[tokio::test]
async fn our_own_names_get_one_wildcard_by_signed_updates_of_the_zone() {
    let key = "c2VjcmV0LWtleS1vZi10aGUtem9uZS1vZi0zMi1ieXRlcw==";
    let named = Named::start("weir-test.org", key).await;
    let authority = Authority::start_with(Some(named.address)).await;
    let world = World::start_with(|config| Config {
        domain: "apps.weir-test.org".to_owned(),
        ..config
    })
    .await;
    let zone = |key: &str| {
        json!({
            "server": named.address.to_string(),
            "zone": "weir-test.org",
            "key_name": "weir",
            "key": key,
            "wait_s": 0,
        })
    };
    let dns = "/v1/certificate-dns";
    let (status, told) = world.control.call(Method::PUT, dns, Some(zone("AAAA"))).await;
    assert_eq!((status, &told["records"]), (StatusCode::OK, &json!("zone")), "{told}");
    world.ask(&authority).await;
    let store = &world.control.context.store;
    let mut problem = String::new();
    for _ in 0..200 {
        if let [name] = store.certificate_name_list().await.unwrap().as_slice() {
            problem.clone_from(&name.problem);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        problem.contains("refused the record _acme-challenge.apps.weir-test.org"),
        "{problem}"
    );
    world.control.call(Method::PUT, dns, Some(zone(key))).await;
    world.clock.by(Duration::from_secs(61));
    world.certificates().reload();
    for _ in 0..600 {
        if world.certificates().covers("shop.apps.weir-test.org") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.in_force("*.apps.weir-test.org"), 1);
    let left = named.records("_acme-challenge.apps.weir-test.org").await;
    assert_eq!(left, 0, "the record stayed");
}

#[tokio::test]
async fn our_own_names_get_one_wildcard_by_the_operators_program() {
    let authority = Authority::start().await;
    let folder = tempfile::tempdir().unwrap();
    let hook = folder.path().join("hook");
    // As people write it: whatever changes their zone.
    let script = format!(
        "#!/bin/sh\nset -eu\ncase $1 in\n\
         present) what=set-txt body=\"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" ;;\n\
         cleanup) what=clear-txt body=\"{{\\\"host\\\":\\\"$2.\\\"}}\" ;;\nesac\n\
         exec curl -sSf -o /dev/null -d \"$body\" http://{}/$what\n",
        authority.management()
    );
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let world = World::start_with(|config| Config {
        domain: "apps.weir-test.org".to_owned(),
        dns_hook: Some(hook),
        ..config
    })
    .await;
    world.ask(&authority).await;
    for _ in 0..600 {
        if world.in_force("*.apps.weir-test.org") == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "{:?}",
        world.control.context.store.certificate_name_list().await.unwrap()
    );
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_survives_a_restart() {
    let authority = Authority::start().await;
    let world = World::start().await;
    pebble::http_door(world.certificates(), authority.http_port).await;
    world.ask(&authority).await;
    world.add(&["old.weir-test.org"]).await;
    let told = world.until("old.weir-test.org", "valid").await;
    let first = world.set().certificates[0].clone();
    let ends: jiff::Timestamp = told["ends"].as_str().unwrap().parse().unwrap();
    let life_ms = u64::try_from(ends.as_millisecond() - world.clock.now_ms()).unwrap();
    world.clock.by(Duration::from_millis(life_ms / 100 * 65));
    world.certificates().reload();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        world.set().certificates,
        std::slice::from_ref(&first),
        "it is young enough"
    );
    world.clock.by(Duration::from_millis(life_ms / 100 * 2));
    world.certificates().reload();
    for _ in 0..600 {
        if world.set().certificates != std::slice::from_ref(&first) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let now = world.set().certificates.clone();
    assert!(
        now.len() == 1 && now[0].key_pem != first.key_pem,
        "a new key, and the old one gone"
    );
    let (_, told) = world.control.call(Method::GET, "/v1/certificates", None).await;
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    // A control that starts anew has the same in force.
    let again = Context {
        certificates: Certificates::new(world.clock.clone()),
        ..world.control.context.clone()
    };
    tokio::spawn(certificates::run(again.clone()));
    let mut set = again.certificates.subscribe();
    let set = set.wait_for(|set| set.version > 0).await.unwrap().clone();
    assert_eq!(set.certificates, now);
}

#[tokio::test]
async fn three_hundred_names_from_one_file_get_their_certificates() {
    let authority = Authority::start().await;
    let world = World::start().await;
    pebble::http_door(world.certificates(), authority.http_port).await;
    world.ask(&authority).await;
    // 200 registered domains, and 100 names of one.
    let names = (0..200).map(|number| format!("shop{number}-weir-test.org"));
    let names: Vec<String> = names
        .chain((0..100).map(|number| format!("t{number}.weir-test.org")))
        .collect();
    let began = Instant::now();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let told = world.add(&hosts).await;
    assert_eq!(told["added"].as_array().unwrap().len(), 300);
    let added = began.elapsed();
    let missing = || names.iter().filter(|name| world.in_force(name) == 0).count();
    while missing() > 0 {
        assert!(began.elapsed() < Duration::from_secs(240), "{} have none", missing());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!(
        "300 names added in {added:?}, all have certificates after {:?}",
        began.elapsed()
    );
    assert_eq!(world.orders().await, 202, "those of one domain share two");
    let asked = authority.ordered();
    // Again, it changes nothing.
    let told = world.add(&hosts).await;
    assert_eq!(told["added"], json!([]));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(authority.ordered(), asked);
}

/// A chain of an authority of one's own, and its key.
fn own(names: &[&str], days: i64) -> (String, String) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut root = CertificateParams::new(Vec::<String>::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    let seconds = SystemClock.now_ms() / 1_000 + days * 86_400;
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds.try_into().unwrap());
    let chain = params.signed_by(&key, &issuer).unwrap().pem() + &root_pem;
    (chain, key.serialize_pem())
}

#[tokio::test]
async fn an_uploaded_certificate_serves_is_warned_of_and_gives_way_when_it_ends() {
    let authority = Authority::start().await;
    let world = World::start().await;
    pebble::http_door(world.certificates(), authority.http_port).await;
    let contact = json!({"channel": "webhook", "address": "http://127.0.0.1:9/", "allow_private": true});
    let (status, told) = world.control.call(Method::POST, "/v1/contacts", Some(contact)).await;
    assert_eq!(status, StatusCode::CREATED, "{told}");
    let (chain, key) = own(&["own.weir-test.org", "*.weir-test.net"], 10);
    let upload = |chain: &str, key: &str| {
        let body = json!({"chain": chain, "key": key});
        world.control.call(Method::POST, "/v1/certificates", Some(body))
    };
    let (status, told) = upload(&chain, &own(&["own.weir-test.org"], 10).1).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(told["title"].as_str().unwrap().contains("key does not fit"), "{told}");
    world.add(&["own.weir-test.org", "a.weir-test.net"]).await;
    let (status, told) = upload(&chain, &key).await;
    assert_eq!(
        (status, &told["serves"]),
        (StatusCode::CREATED, &json!(["a.weir-test.net", "own.weir-test.org"]))
    );
    assert!(!told.to_string().contains("PRIVATE"), "{told}");
    let (_, again) = upload(&chain, &key).await;
    assert_ne!(again["id"], told["id"], "it takes the place of the one before");
    world.until("a.weir-test.net", "valid").await;
    assert_eq!(world.in_force("own.weir-test.org"), 1);
    world.ask(&authority).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(authority.ordered(), 0, "who brings one needs no other");
    let store = &world.control.context.store;
    world.clock.by(Duration::from_secs(3_700));
    world.certificates().reload();
    for _ in 0..200 {
        if !store.notice_list(10).await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let notices = store.notice_list(10).await.unwrap();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].subject.contains("ends within 14 days; upload the next one"),
        "{}",
        notices[0].subject
    );
    world.clock.by(Duration::from_secs(10 * 86_400));
    world.certificates().reload();
    for _ in 0..600 {
        let issued = world
            .set()
            .certificates
            .iter()
            .filter(|one| one.names.len() == 1)
            .count();
        if issued == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        world.in_force("own.weir-test.org"),
        1,
        "the one that has ended is out of force"
    );
    assert_eq!(world.in_force("*.weir-test.net"), 0);
    assert_eq!(world.in_force("a.weir-test.net"), 1);
}

#[tokio::test]
async fn names_are_added_all_or_none_and_problems_are_told_together() {
    let world = World::start().await;
    world.control.project("other").await;
    let taken = json!({"host": "taken.weir-test.org"});
    let path = "/v1/projects/other/environments/production/domains";
    world.control.call(Method::POST, path, Some(taken)).await;
    let put = |body: Value| world.control.call(Method::PUT, DOMAINS, Some(body));
    let hosts = ["good.weir-test.org", "-bad.org", "taken.weir-test.org", "x.localhost"];
    let (status, told) = put(json!({"hosts": hosts})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(told["title"], "3 of the 4 host names cannot be added, so none was");
    let entries = told["entries"].as_array().unwrap();
    let numbers: Vec<u64> = entries.iter().map(|entry| entry["entry"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 3, 4]);
    assert!(
        entries[1]["title"]
            .as_str()
            .unwrap()
            .contains("already belongs to the project `other`")
    );
    let (_, listed) = world.control.call(Method::GET, DOMAINS, None).await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "nothing is half done: {listed}");
    let options =
        json!({"hosts": ["weir-test.org"], "redirect_to": "www.weir-test.org", "https_redirect": false, "hsts_s": 300});
    let (_, told) = put(options).await;
    let domain = &told["domains"][0];
    assert_eq!(
        (&domain["redirect_to"], &domain["hsts_s"]),
        (&json!("www.weir-test.org"), &json!(300))
    );
    assert_eq!(domain["https_redirect"], false);
    let (status, told) = put(json!({"hosts": ["www.weir-test.org"], "redirect_to": "weir-test.org"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{told}");
    // What is not named stays as it is.
    let (_, told) = put(json!({"hosts": ["weir-test.org", "WEIR-TEST.org."], "hsts_s": 0})).await;
    assert_eq!(told["domains"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["domains"][0]["redirect_to"], "www.weir-test.org");
    let (_, told) = put(json!({"hosts": ["weir-test.org"], "redirect_to": ""})).await;
    assert_eq!(told["domains"][0].get("redirect_to"), None);
    // Of Weir's own names everything but the name can be changed.
    let (status, told) = put(json!({"hosts": ["shop.localhost"], "https_redirect": false})).await;
    assert_eq!(
        (status, &told["domains"][0]["platform"]),
        (StatusCode::OK, &json!(true)),
        "{told}"
    );
}
