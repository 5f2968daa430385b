//! What is compiled, and what of it outlives a change.

use std::time::Instant;

use weir_model::certificate::HttpsPolicy;
use weir_model::guard::GuardRules;
use weir_model::route::RouteSnapshot;
use weir_model::route_feed::parts_of;

use super::*;

fn backend(number: u128) -> Backend {
    Backend {
        instance: InstanceId::from_parts(1, number),
        address: ([127, 0, 0, 1], 80).into(),
    }
}

fn route(prefix: &str, pool: Vec<Backend>) -> Route {
    Route {
        path_prefix: prefix.to_owned(),
        target: "web.web".to_owned(),
        state: RouteState::Serve,
        pool,
        concurrency: 1,
        first_byte_timeout_ms: 1_000,
        guard: GuardRules::default(),
        ..Route::default()
    }
}

fn snapshot(generation: u64, routes: Vec<Route>, draining: Vec<Backend>) -> RouteSnapshot {
    let host = HostRoutes {
        environment: EnvironmentId::from_parts(1, 1),
        title: "shop".to_owned(),
        routes,
        https: HttpsPolicy::default(),
        redirect_to: None,
        protection: None,
    };
    RouteSnapshot {
        generation,
        hosts: BTreeMap::from([("shop.localhost".to_owned(), host)]),
        draining,
        ..RouteSnapshot::default()
    }
}

impl Registry {
    /// Everything that is to be served.
    fn compile(&mut self, snapshot: &RouteSnapshot) -> Compiled {
        let parts = parts_of(snapshot);
        for environment in self.environments() {
            if !parts.contains_key(&environment) {
                self.change(environment, None);
            }
        }
        for (environment, part) in &parts {
            self.change(*environment, Some(part));
        }
        self.finish()
    }
}

fn registry() -> Registry {
    Registry::new(1, Clock::start(), Arc::new(Notify::new()), Doors::default())
}

#[test]
fn the_longest_prefix_answers() {
    let routes = vec![route("/", vec![]), route("/api/v1/", vec![]), route("/api", vec![])];
    let table = registry().compile(&snapshot(1, routes, vec![])).table;
    let prefix = |path: &str| {
        table
            .hosts
            .get("shop.localhost")
            .unwrap()
            .route(path, &Method::GET)
            .map(|route| route.prefix.to_string())
    };
    assert_eq!(prefix("/api/v1/users").as_deref(), Some("/api/v1"));
    assert_eq!(prefix("/api/v2").as_deref(), Some("/api"));
    assert_eq!(prefix("/apiary").as_deref(), Some(""));
    assert!(!table.hosts.contains_key("other.localhost"));
}

#[test]
fn an_instance_drains_comes_back_and_goes() {
    let mut registry = registry();
    let mut apply = |snapshot| {
        let compiled = registry.compile(&snapshot);
        let (active, gone) = (compiled.active.clone(), compiled.gone.clone());
        install(compiled, drop);
        (active, gone)
    };
    let (active, _) = apply(snapshot(1, vec![route("/", vec![backend(1)])], vec![]));
    let first = Arc::clone(&active[0]);
    apply(snapshot(2, vec![route("/", vec![backend(2)])], vec![backend(1)]));
    assert_eq!(first.phase(), Phase::Draining);
    let (active, _) = apply(snapshot(3, vec![route("/", vec![backend(1)])], vec![backend(2)]));
    assert_eq!(first.phase(), Phase::Active);
    assert!(Arc::ptr_eq(&first, &active[0]));
    let (_, gone) = apply(snapshot(4, vec![route("/", vec![])], vec![]));
    assert_eq!(gone.len(), 2);
    assert_eq!(first.phase(), Phase::Gone);
    assert!(first.cut.is_cancelled());
}

#[test]
fn one_that_is_in_a_pool_and_draining_gets_nothing() {
    let mut registry = registry();
    let compiled = registry.compile(&snapshot(1, vec![route("/", vec![backend(1)])], vec![backend(1)]));
    assert!(
        compiled
            .table
            .hosts
            .get("shop.localhost")
            .unwrap()
            .route("/", &Method::GET)
            .unwrap()
            .pool
            .is_empty()
    );
    let instance = Arc::clone(&compiled.draining[0]);
    install(compiled, drop);
    assert_eq!(instance.phase(), Phase::Draining);
}

#[test]
fn hundred_thousand_hosts_compile_quickly() {
    let one = snapshot(1, vec![route("/", vec![backend(1)])], vec![]);
    let host = &one.hosts["shop.localhost"];
    let hosts = (0..100_000)
        .map(|number| (format!("app-{number}.localhost"), host.clone()))
        .collect();
    let many = RouteSnapshot { hosts, ..one.clone() };
    let mut registry = registry();
    let start = Instant::now();
    let compiled = registry.compile(&many);
    println!("100,000 hosts compiled in {:?}", start.elapsed());
    assert_eq!(compiled.table.hosts.len(), 100_000);
    // They say the same, and so they are one.
    let one = compiled.table.hosts.get("app-0.localhost").unwrap();
    assert!(compiled.table.hosts.values().all(|host| Arc::ptr_eq(host, one)));
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// An environment with one host and one instance.
fn part(number: u64, state: RouteState, backend: Backend) -> (EnvironmentId, Part) {
    let environment = EnvironmentId::from_parts(1, u128::from(number));
    let route = Route {
        state,
        ..route("/", vec![backend])
    };
    let host = HostRoutes {
        environment,
        title: "shop".to_owned(),
        routes: vec![route],
        https: HttpsPolicy::default(),
        redirect_to: None,
        protection: None,
    };
    let mut part = Part::default();
    part.insert(format!("shop-{number}.localhost"), &host);
    (environment, part)
}

#[test]
fn a_change_makes_only_the_routes_of_its_environment_outdated() {
    let mut registry = registry();
    let (first, of_first) = part(1, RouteState::Serve, backend(1));
    let (second, of_second) = part(2, RouteState::Serve, backend(2));
    registry.change(first, Some(&of_first));
    registry.change(second, Some(&of_second));
    let mut serves = Table::default();
    install(registry.finish(), |table| serves = table);
    let route = |table: &Table, host: &str| {
        let entry = Arc::clone(table.hosts.get(host).unwrap());
        Arc::clone(entry.route("/", &Method::GET).unwrap())
    };
    let (kept, changed) = (route(&serves, "shop-1.localhost"), route(&serves, "shop-2.localhost"));
    let (_, paused) = part(2, RouteState::Paused, backend(2));
    registry.change(second, Some(&paused));
    let compiled = registry.finish();
    // Until it serves, nobody is told.
    assert!(!changed.is_past());
    install(compiled, |table| serves = table);
    assert!(changed.is_past() && !kept.is_past());
    assert!(Arc::ptr_eq(&kept, &route(&serves, "shop-1.localhost")));
    let newer = route(&serves, "shop-2.localhost");
    assert!(!newer.is_past() && newer.state == RouteState::Paused);
    registry.change(second, None);
    install(registry.finish(), |table| serves = table);
    assert!(newer.is_past() && serves.hosts.get("shop-2.localhost").is_none());
    assert_eq!(
        (newer.pool[0].phase(), kept.pool[0].phase()),
        (Phase::Gone, Phase::Active)
    );
}

#[test]
fn a_host_that_goes_to_another_environment_is_never_lost() {
    for order in [[1, 2], [2, 1]] {
        let mut registry = registry();
        let (_, mut moved) = part(1, RouteState::Serve, backend(1));
        registry.change(EnvironmentId::from_parts(1, 1), Some(&moved));
        install(registry.finish(), drop);
        for number in order {
            let environment = EnvironmentId::from_parts(1, number);
            moved.kinds[0].environment = environment;
            let (_, empty) = (0, Part::default());
            registry.change(environment, Some(if number == 2 { &moved } else { &empty }));
        }
        let compiled = registry.finish();
        let entry = compiled.table.hosts.get("shop-1.localhost").unwrap();
        assert_eq!(entry.environment, EnvironmentId::from_parts(1, 2));
        assert_eq!(compiled.table.hosts.len(), 1);
    }
}
