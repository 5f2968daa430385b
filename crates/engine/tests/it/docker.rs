//! What only the real engine can show: limits, isolation, terminals, floods, speed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use weir_engine::docker::{DockerEngine, DockerOptions};
use weir_engine::{Engine, EngineEvent, InstanceSpec, InstanceState};
use weir_model::log::LogStream;

use crate::contract::read_all;
use crate::fixture::{Fixture, Scenario, environment, on_docker, on_docker_with};

/// What a shell script writes to both streams, run in an instance.
pub(crate) async fn shell(engine: &DockerEngine, spec: &InstanceSpec, script: &str) -> String {
    let command = ["/bin/sh", "-c", script].map(str::to_owned);
    let mut session = engine
        .instance_exec(spec.labels.instance, &command, false)
        .await
        .unwrap();
    let (stdout, stderr) = read_all(&mut session).await;
    format!("{stdout}{stderr}")
}

async fn address(fixture: &Fixture, spec: &InstanceSpec) -> IpAddr {
    fixture.find(spec.labels.instance).await.unwrap().address.unwrap()
}

/// An instance that answers `hi` on port 8000.
async fn serving(fixture: &Fixture, environment: weir_model::EnvironmentId) -> InstanceSpec {
    let mut spec = fixture.spec(environment, &Scenario::Runs);
    spec.command = Some("echo hi > /tmp/index.html; exec httpd -f -p 8000 -h /tmp".to_owned());
    fixture.engine.instance_start(&spec).await.unwrap();
    spec
}

/// A request by hand, since the program's own client is not to be relied upon.
fn request(address: IpAddr, port: u16) -> String {
    format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} {port} 2>&1; echo status $?")
}

#[tokio::test]
async fn limits_are_really_set() {
    on_docker(|fixture, engine| async move {
        let spec = fixture.start(environment(), &Scenario::Runs).await;
        let first = shell(
            &engine,
            &spec,
            "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max; cat pids/pids.max pids.max; \
             cat cpu/cpu.cfs_quota_us cpu,cpuacct/cpu.cfs_quota_us cpu.max",
        )
        .await;
        assert!(first.contains(&(64 << 20).to_string()), "memory: {first}");
        assert!(first.lines().any(|line| line == "50"), "processes: {first}");
        assert!(first.contains("50000"), "half a core: {first}");

        let second = shell(
            &engine,
            &spec,
            "ulimit -n; ulimit -c; cat /proc/1/oom_score_adj; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; \
             hostname; echo $GREETING; ls /var/run/docker.sock; ps",
        )
        .await;
        let squeezed = second.replace(['\t', ' '], "");
        // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10.
        for expected in [
            "256\n0\n500\n",
            "CapBnd:00000000000004eb",
            "NoNewPrivs:1",
            "Seccomp:2",
            "web-",
            "helloworld",
        ] {
            assert!(squeezed.contains(expected), "{expected} is missing in {second}");
        }
        assert!(second.contains("docker.sock: No such file"), "{second}");
        assert!(
            second.contains("docker-init") || second.contains("tini"),
            "an init runs: {second}"
        );
    })
    .await;
}

#[tokio::test]
async fn memory_that_runs_out_is_told() {
    on_docker(|fixture, _engine| async move {
        let mut spec = fixture.spec(environment(), &Scenario::Runs);
        spec.command = Some("tail /dev/zero; exit $?".to_owned());
        fixture.engine.instance_start(&spec).await.unwrap();
        let state = fixture.wait_for_exit(&spec).await;
        assert_eq!(
            state,
            InstanceState::Exited {
                status: 137,
                out_of_memory: true
            }
        );
    })
    .await;
}

#[tokio::test]
async fn names_resolve_in_an_environment_and_others_are_out_of_reach() {
    on_docker(|fixture, engine| async move {
        let (here, there) = (environment(), environment());
        let server = serving(&fixture, here).await;
        let friend = fixture.start(here, &Scenario::Runs).await;
        let stranger = fixture.start(there, &Scenario::Runs).await;
        let server_address = address(&fixture, &server).await;

        let by_friend = shell(&engine, &friend, &request(server_address, 8000)).await;
        assert!(by_friend.contains("200 OK"), "{by_friend}");
        let resolved = shell(&engine, &friend, "nslookup web 127.0.0.11").await;
        assert!(resolved.contains(&server_address.to_string()), "{resolved}");

        let by_stranger = shell(&engine, &stranger, &request(server_address, 8000)).await;
        assert!(
            !by_stranger.contains("200 OK") && by_stranger.contains("status 1"),
            "{by_stranger}"
        );
        let resolved = shell(&engine, &stranger, "nslookup shop-nobody 127.0.0.11").await;
        assert!(!resolved.contains(&server_address.to_string()), "{resolved}");
        // From the machine itself the instance is reached at its address.
        tokio::net::TcpStream::connect((server_address, 8000)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_machine_and_the_metadata_service_are_out_of_reach() {
    let (secret_port, ingress_port) = (welcoming().await, welcoming().await);
    let mut options = DockerOptions::new(format!("{:08x}", fastrand::u32(..)));
    options.ingress_ports = vec![ingress_port];
    options.guard_default_bridge = false;
    on_docker_with(options, move |fixture, engine| async move {
        // Safe to repeat.
        engine.firewall_ensure().await;
        let environment = environment();
        let spec = fixture.start(environment, &Scenario::Runs).await;
        let gateway = fixture.engine.network_ensure(environment).await.unwrap().gateway;
        let allowed = shell(&engine, &spec, &request(gateway, ingress_port)).await;
        assert!(allowed.contains("welcome"), "{allowed}");
        let began = Instant::now();
        let forbidden = shell(&engine, &spec, &request(gateway, secret_port)).await;
        assert!(
            forbidden.contains("refused") && !forbidden.contains("status 0"),
            "{forbidden}"
        );
        let metadata = shell(&engine, &spec, &request("169.254.169.254".parse().unwrap(), 80)).await;
        assert!(
            metadata.contains("refused") && !metadata.contains("status 0"),
            "{metadata}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "they are refused, not left waiting"
        );

        engine.teardown_firewall().await.unwrap();
        let open = shell(&engine, &spec, &request(gateway, secret_port)).await;
        assert!(open.contains("welcome"), "the rules are gone: {open}");
    })
    .await;
}

/// A service on every address of the machine; gives its port.
pub(crate) async fn welcoming() -> u16 {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _from) = listener.accept().await.unwrap();
            stream.write_all(b"welcome").await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_watcher_survives_an_engine_that_goes_away() {
    on_docker(|fixture, engine| async move {
        // The same engine behind a socket that can be taken away.
        let path = std::env::temp_dir().join(format!("weir-engine-{:x}.sock", crate::fixture::unique()));
        let proxy = proxied(&path);
        let mut options = DockerOptions::new(fixture.image.split(['/', ':']).nth(1).unwrap());
        options.socket = Some(path.to_string_lossy().into_owned());
        options.firewall = false;
        let behind = DockerEngine::connect(options).await.unwrap();
        let mut events = behind.watch();
        assert_eq!(events.next().await, Some(EngineEvent::Resync));
        proxy.abort();
        std::fs::remove_file(&path).unwrap();
        while !proxy.is_finished() {
            tokio::task::yield_now().await;
        }
        let error = behind.observe(None).await.unwrap_err();
        assert!(error.retryable(), "{error:?}");
        assert!(behind.ping().await.is_err());
        // Something happens meanwhile.
        fixture.start(environment(), &Scenario::Runs).await;
        let proxy = proxied(&path);
        let resync = async { while events.next().await != Some(EngineEvent::Resync) {} };
        tokio::time::timeout(Duration::from_secs(10), resync)
            .await
            .expect("it comes back");
        assert_eq!(behind.observe(None).await.unwrap().len(), 1);
        proxy.abort();
        std::fs::remove_file(&path).unwrap();
        drop(engine);
    })
    .await;
}

/// Passes connections on to the engine until aborted, which cuts them.
fn proxied(path: &std::path::Path) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut here, _from) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut there = tokio::net::UnixStream::connect("/var/run/docker.sock").await.unwrap();
                let _cut = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            });
        }
    })
}

#[tokio::test]
async fn a_terminal_shows_a_prompt_and_knows_its_size() {
    on_docker(|fixture, engine| async move {
        let spec = fixture.start(environment(), &Scenario::Runs).await;
        let mut session = engine
            .instance_exec(spec.labels.instance, &["/bin/sh".to_owned()], true)
            .await
            .unwrap();
        let mut seen = String::new();
        until(&mut session, &mut seen, "# ").await;
        engine.session_resize(&session.id, 132, 43).await.unwrap();
        session.input.write_all(b"stty size\n").await.unwrap();
        until(&mut session, &mut seen, "43 132").await;
        session.input.write_all(b"exit 9\n").await.unwrap();
        read_all(&mut session).await;
        assert_eq!(engine.session_status(&session.id).await, Ok(9));
    })
    .await;
}

#[tokio::test]
async fn an_attached_terminal_takes_input_and_tells_the_status() {
    on_docker(|fixture, engine| async move {
        let mut spec = fixture.spec(environment(), &Scenario::Runs);
        spec.command = Some("printf 'name? '; read name; echo hello $name; exit 4".to_owned());
        (spec.terminal, spec.interactive) = (true, true);
        engine.instance_create(&spec).await.unwrap();
        let mut session = engine.instance_attach(spec.labels.instance).await.unwrap();
        engine.instance_start(&spec).await.unwrap();
        let mut seen = String::new();
        until(&mut session, &mut seen, "name? ").await;
        session.input.write_all(b"weir\n").await.unwrap();
        until(&mut session, &mut seen, "hello weir").await;
        assert_eq!(engine.session_status(&session.id).await, Ok(4));
    })
    .await;
}

/// Reads until a text was shown.
async fn until(session: &mut weir_engine::Session, seen: &mut String, text: &str) {
    let reading = async {
        while !seen.contains(text) {
            let (_stream, bytes) = session.output.next().await.expect("more").unwrap();
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap_or_else(|_| panic!("only {seen:?}"));
}

#[tokio::test]
async fn long_lines_come_in_parts_and_a_flood_is_read() {
    on_docker(|fixture, engine| async move {
        let mut spec = fixture.spec(environment(), &Scenario::Runs);
        spec.command = Some(
            "head -c 40000 /dev/zero | tr '\\0' x; echo; yes 'a line of a flood' | head -n 300000; echo the end"
                .to_owned(),
        );
        spec.cpu_milli = 1000;
        engine.instance_start(&spec).await.unwrap();
        let began = Instant::now();
        let (mut long, mut lines, mut gaps) = (0, 0, 0);
        let mut last = String::new();
        let mut output = engine.instance_output(spec.labels.instance, 0);
        while let Some(chunk) = output.next().await {
            let chunk = chunk.unwrap();
            assert!(chunk.text.len() <= 16 * 1024);
            match chunk.text.first() {
                Some(b'x') => long += chunk.text.len(),
                _ if chunk.stream == LogStream::Weir => gaps += 1,
                _ => lines += 1,
            }
            last = String::from_utf8_lossy(&chunk.text).into_owned();
        }
        println!(
            "read {lines} lines of a flood in {:?}, with {gaps} gaps",
            began.elapsed()
        );
        assert_eq!(long, 40_000);
        assert_eq!(last, "the end", "it is read to its end");
        assert!(lines == 300_001 || gaps > 0, "{lines} lines and nothing said");
    })
    .await;
}

#[tokio::test]
async fn a_volume_keeps_its_data_and_installations_do_not_see_each_other() {
    on_docker(|fixture, engine| async move {
        let environment = environment();
        let mut spec = fixture.spec(environment, &Scenario::Runs);
        spec.volumes
            .insert(weir_model::VolumeName::new("data").unwrap(), "/data".to_owned());
        spec.command = Some("echo kept > /data/file; exec sleep 1000".to_owned());
        engine.instance_start(&spec).await.unwrap();
        fixture.wait_for(&spec, |state| state == InstanceState::Running).await;
        shell(&engine, &spec, "while ! test -s /data/file; do sleep 0.05; done").await;
        engine.instance_remove(spec.labels.instance).await.unwrap();
        let mut second = fixture.spec(environment, &Scenario::Runs);
        second.volumes.clone_from(&spec.volumes);
        engine.instance_start(&second).await.unwrap();
        assert_eq!(shell(&engine, &second, "cat /data/file").await, "kept\n");
        let data = weir_model::VolumeName::new("data").unwrap();
        let app = &spec.labels.app;
        let folder = engine.volume_folder(environment, app, &data).await.unwrap().unwrap();
        let tree = weir_engine::files::Tree::open(&folder).unwrap();
        let path = weir_engine::files::TreePath::parse("/file").unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut tree.read(&path).unwrap().0, &mut text).unwrap();
        assert_eq!(text, "kept\n");
        let none = weir_model::VolumeName::new("none").unwrap();
        assert_eq!(engine.volume_folder(environment, app, &none).await.unwrap(), None);

        let mut options = DockerOptions::new(format!("{:08x}", fastrand::u32(..)));
        options.firewall = false;
        let other = DockerEngine::connect(options).await.unwrap();
        assert_eq!(other.observe(None).await.unwrap(), []);
        assert_eq!(other.network_list().await.unwrap(), []);
        assert_eq!(other.volume_list().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_is_away_is_unreachable() {
    let mut options = DockerOptions::new("abcd");
    options.socket = Some("/nonexistent/docker.sock".to_owned());
    let error = DockerEngine::connect(options).await.unwrap_err();
    assert!(error.retryable(), "{error:?}");
    let error = DockerEngine::connect(DockerOptions::new("Not Hex")).await.unwrap_err();
    assert!(!error.retryable(), "{error:?}");
}

#[tokio::test]
async fn the_calls_of_a_switch_are_quick() {
    on_docker(|fixture, engine| async move {
        let environment = environment();
        engine.network_ensure(environment).await.unwrap();
        let mut times: [Vec<Duration>; 6] = Default::default();
        for _round in 0..10 {
            let spec = fixture.spec(environment, &Scenario::Runs);
            let id = spec.labels.instance;
            let mut began = Instant::now();
            let mut lap = |index: usize| {
                times[index].push(began.elapsed());
                began = Instant::now();
            };
            engine.instance_start(&spec).await.unwrap();
            lap(0);
            engine.instance_freeze(id).await.unwrap();
            lap(1);
            engine.instance_thaw(id).await.unwrap();
            lap(2);
            engine.observe(None).await.unwrap();
            lap(3);
            engine.instance_stop(id, 10).await.unwrap();
            lap(4);
            engine.instance_remove(id).await.unwrap();
            lap(5);
        }
        for (what, mut taken) in ["start", "freeze", "thaw", "observe", "stop", "remove"]
            .into_iter()
            .zip(times)
        {
            taken.sort();
            println!("{what}: median {:?}, slowest {:?}", taken[5], taken[9]);
            assert!(taken[5] < Duration::from_secs(5));
        }
    })
    .await;
}
