use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use weir_ledger::protocol::DenialReason;
use weir_ledger::wallet::{NoMoney, Urgency};
use weir_ledger::{Pico, Sku};
use weir_meter::{LedgerLink, Left, SocketLink};

use crate::support::{REQUEST, Running, TinyLedger, environment, request, until};

#[tokio::test]
async fn the_first_request_waits_for_a_lease_and_the_last_is_refused_at_the_cap() {
    let folder = tempfile::tempdir().unwrap();
    // Ten requests, and the nano for the line.
    let ledger = TinyLedger::new(10 * REQUEST + 1, 3 * REQUEST);
    let meter = Running::start(folder.path(), &ledger);
    let till = meter.till();
    for _ in 0..10 {
        request(&till).await.unwrap();
    }
    assert_eq!(request(&till).await, Err(NoMoney::Denied(DenialReason::ProjectCap)));
    assert_eq!(till.trouble(), Some(NoMoney::Denied(DenialReason::ProjectCap)));
    // The cap is raised: soon the next request is served again.
    ledger.with(|state| state.limit += 10 * REQUEST);
    until("money comes after the raise", || {
        till.pay(0, Urgency::Request, &Sku::REQUESTS, 1).is_ok()
    })
    .await;
    assert_eq!(till.trouble(), None);
    meter.stop().await;
    assert_eq!(ledger.requests(), 11);
}

#[tokio::test]
async fn stopped_it_gives_everything_back_and_tells_all_use() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = TinyLedger::new(1_000_000, 100_000);
    let meter = Running::start(folder.path(), &ledger);
    let till = meter.till();
    for _ in 0..25 {
        request(&till).await.unwrap();
    }
    let gauge = meter.wallets.gauge(environment()).unwrap();
    assert_eq!(gauge.usage.iter().map(|(_, units)| units).sum::<u64>(), 25);
    assert!(gauge.spent <= gauge.drawn);
    assert!(gauge.drawn.to_nano_up() <= gauge.granted);
    meter.stop().await;
    assert_eq!(ledger.requests(), 25);
    assert_eq!(ledger.with(|state| state.counted()), 25 * REQUEST);
}

#[tokio::test]
async fn killed_it_goes_on_with_the_old_lease_until_the_ledger_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = TinyLedger::new(1_000_000, 100_000);
    let meter = Running::start(folder.path(), &ledger);
    for _ in 0..25 {
        request(&meter.till()).await.unwrap();
    }
    meter.kill().await;
    ledger.with(|state| state.away = true);
    let meter = Running::start(folder.path(), &ledger);
    for _ in 0..25 {
        request(&meter.till()).await.unwrap();
    }
    assert_eq!(ledger.with(|state| state.incarnation), 1);
    ledger.with(|state| state.away = false);
    until("the new incarnation is known", || {
        ledger.with(|state| state.incarnation == 2)
    })
    .await;
    request(&meter.till()).await.unwrap();
    meter.stop().await;
    // At least what was used is counted; what is not explained is a part of the lease.
    let counted = ledger.with(|state| state.counted());
    assert!(counted >= 51 * REQUEST, "{counted}");
    assert!(counted < 51 * REQUEST + 20_000, "{counted}");
}

#[tokio::test]
async fn cut_off_it_spends_what_it_holds_and_then_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = TinyLedger::new(1_000_000, 10 * REQUEST);
    let meter = Running::start(folder.path(), &ledger);
    let till = meter.till();
    request(&till).await.unwrap();
    ledger.with(|state| state.away = true);
    let mut served = 1;
    let refused = loop {
        match request(&till).await {
            Ok(()) => served += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, NoMoney::CutOff);
    assert!(served < 30, "{served}");
    ledger.with(|state| state.away = false);
    until("it serves again", || {
        till.pay(0, Urgency::Request, &Sku::REQUESTS, 1).is_ok()
    })
    .await;
    meter.stop().await;
    assert_eq!(ledger.requests(), served + 1);
}

#[tokio::test]
async fn idle_money_is_recalled_but_for_what_instances_need() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = TinyLedger::new(1_000_000, 100_000);
    let meter = Running::start(folder.path(), &ledger);
    let floor = 20 * REQUEST;
    meter.wallets.set_floor(environment(), Pico(floor * 1_000));
    request(&meter.till()).await.unwrap();
    ledger.with(|state| state.recall = true);
    let kept = floor + REQUEST + 1;
    until("all but the floor is back", || {
        ledger.with(|state| state.counted() == kept)
    })
    .await;
    // Instances have what was kept for them.
    ledger.with(|state| state.away = true);
    let till = meter.till();
    assert!(till.pay(1, Urgency::Request, &Sku::REQUESTS, 1).is_err());
    assert!(till.pay(1, Urgency::Instance, &Sku::REQUESTS, 20).is_ok());
    meter.kill().await;
}

#[tokio::test]
async fn without_a_log_nothing_is_spent_and_with_room_again_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = TinyLedger::new(1_000_000, 100_000);
    // Where the new log is to be written there is a folder: as impossible as on a full disk.
    let blocked = folder.path().join("log.new");
    std::fs::create_dir(&blocked).unwrap();
    let meter = Running::start(folder.path(), &ledger);
    let till = meter.till();
    assert_eq!(request(&till).await, Err(NoMoney::NotRecorded));
    assert_eq!(ledger.with(|state| state.counted()), 0);
    std::fs::remove_dir(&blocked).unwrap();
    until("it is recorded again", || {
        till.pay(0, Urgency::Request, &Sku::REQUESTS, 1).is_ok()
    })
    .await;
    meter.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_a_meter_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = TinyLedger::new(1_000_000, 100_000);
    ledger.with(|state| state.away = true);
    let meter = Running::start(folder.path(), &ledger);
    let till = meter.till();
    let waiting = tokio::spawn(async move {
        till.wait(Urgency::Request, &Sku::REQUESTS, 1, Duration::from_secs(3_600))
            .await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    meter.kill().await;
    assert_eq!(waiting.await.unwrap(), Err(NoMoney::CutOff));
}

#[tokio::test]
async fn the_ledger_in_control_is_asked_over_its_socket() {
    use http_body_util::{BodyExt, Full};
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let ledger = TinyLedger::new(1_000_000, 100_000);
    let server = std::sync::Arc::clone(&ledger);
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = std::sync::Arc::clone(&server);
            let answer = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let server = std::sync::Arc::clone(&server);
                async move {
                    assert_eq!(
                        (request.method().as_str(), request.uri().path()),
                        ("POST", "/node/ledger")
                    );
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let question = serde_json::from_slice(&body).unwrap();
                    let answer = weir_meter::LedgerLink::exchange(&*server, question).await.unwrap();
                    let body = Full::new(bytes::Bytes::from(serde_json::to_vec(&answer).unwrap()));
                    Ok::<_, std::convert::Infallible>(http::Response::new(body))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    let link = std::sync::Arc::new(SocketLink::new(socket));
    let meter = Running::start(&folder.path().join("meter"), &link);
    for _ in 0..3 {
        request(&meter.till()).await.unwrap();
    }
    meter.stop().await;
    assert_eq!(ledger.requests(), 3);
    serving.abort();
}

#[tokio::test]
async fn what_a_killed_process_has_left_is_settled_whenever_it_dies() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("wallet");
    let ledger = TinyLedger::new(1_000_000, 100_000);
    let meters = [(folder.clone(), "node:test".to_owned())];
    let (link, stop) = (Arc::clone(&ledger) as Arc<dyn LedgerLink>, CancellationToken::new());
    let longest = Duration::from_millis(300);
    let written = || std::fs::metadata(folder.join("log")).unwrap().modified().unwrap();
    let mut left = Left::default();
    left.settle(&meters, &link, longest, &stop).await;
    assert_eq!(ledger.with(|state| state.exchanges), 0, "there was nothing");
    for round in 1..=2 {
        let meter = Running::start(&folder, &ledger);
        for _ in 0..25 {
            request(&meter.till()).await.unwrap();
        }
        left.settle(&meters, &link, longest, &stop).await;
        request(&meter.till()).await.unwrap();
        meter.kill().await;
        let died = written();
        // It is tried again until the ledger knows it.
        ledger.with(|state| state.away = true);
        left.settle(&meters, &link, longest, &stop).await;
        ledger.with(|state| state.away = false);
        left.settle(&meters, &link, longest, &stop).await;
        let counted = ledger.with(|state| state.counted());
        assert!(counted >= round * 26 * REQUEST, "round {round}: {counted}");
        assert!(counted < round * (26 * REQUEST + 20_000), "round {round}: {counted}");
        assert_eq!(
            written(),
            died,
            "who is started next goes on with what was written last"
        );
        let told = ledger.with(|state| state.exchanges);
        left.settle(&meters, &link, longest, &stop).await;
        assert_eq!(ledger.with(|state| state.exchanges), told, "it is told once");
    }
}
