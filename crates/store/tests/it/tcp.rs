//! Ports of services that speak TCP.

use weir_model::project::Domain;
use weir_model::{AppName, EnvironmentId, TcpServiceName};
use weir_store::{Store, StoreError, TcpPort, TcpPortRefused, TcpPortWish};

use crate::database::on_each_database;
use crate::fixtures::{domain, house};

fn wish(service: &str, port: Option<u16>) -> TcpPortWish {
    TcpPortWish {
        app: AppName::new("shop").unwrap(),
        service: TcpServiceName::new(service).unwrap(),
        port,
    }
}

async fn settle(
    store: &Store,
    environment: EnvironmentId,
    wishes: &[TcpPortWish],
    kept: &[TcpPortWish],
) -> Result<Vec<(u16, String)>, TcpPortRefused> {
    let range = Some(20_000..=20_002);
    let settled = store.tcp_ports_settle(environment, wishes, kept, range, 7).await;
    settled.unwrap()?;
    let ports = store.tcp_port_list(environment).await.unwrap();
    Ok(ports.iter().map(|port| (port.port, port.service.to_string())).collect())
}

fn owned(ports: &[(u16, &str)]) -> Vec<(u16, String)> {
    ports
        .iter()
        .map(|(port, service)| (*port, (*service).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_port_stays_with_its_service_and_belongs_to_one_only() {
    on_each_database(|database| async move {
        let store = database.store;
        let (project, shop) = house(&store, "shop").await;
        let (_, mill) = house(&store, "mill").await;
        let (db, cache) = (wish("db", None), wish("cache", None));
        let first = settle(&store, shop.id, &[db.clone(), cache.clone()], &[]).await;
        assert_eq!(first, Ok(owned(&[(20_000, "db"), (20_001, "cache")])));
        // What is asked for in another order, or again, stays where it is.
        let again = settle(&store, shop.id, &[cache.clone(), db.clone()], &[]).await;
        assert_eq!(again, first);
        let third = settle(&store, mill.id, std::slice::from_ref(&db), &[]).await;
        assert_eq!(third, Ok(owned(&[(20_002, "db")])));

        // All or none.
        let more = settle(&store, mill.id, &[db.clone(), wish("mail", None)], &[]).await;
        assert_eq!(more, Err(TcpPortRefused::NoneLeft(wish("mail", None))));
        let outside = settle(&store, mill.id, &[wish("db", Some(99))], &[]).await;
        assert_eq!(outside, Err(TcpPortRefused::Outside(wish("db", Some(99)), 99)));
        let taken = settle(&store, mill.id, &[wish("db", Some(20_001))], &[]).await;
        let of_shop = TcpPort {
            port: 20_001,
            environment: shop.id,
            app: cache.app.clone(),
            service: cache.service.clone(),
            given: true,
        };
        assert_eq!(taken, Err(TcpPortRefused::Taken(of_shop)));
        assert_eq!(settle(&store, mill.id, std::slice::from_ref(&db), &[]).await, third);

        // One that it has is its own also by number; what serves keeps its port beside the new one.
        let named = wish("db", Some(20_002));
        assert_eq!(settle(&store, mill.id, std::slice::from_ref(&named), &[]).await, third);
        let kept = settle(&store, shop.id, std::slice::from_ref(&db), &[db.clone(), cache.clone()]).await;
        assert_eq!(kept, first);
        let freed = settle(&store, shop.id, std::slice::from_ref(&db), std::slice::from_ref(&db)).await;
        assert_eq!(freed, Ok(owned(&[(20_000, "db")])));
        let both = settle(&store, mill.id, &[wish("db", Some(20_001))], &[named]).await;
        assert_eq!(both, Ok(owned(&[(20_001, "db"), (20_002, "db")])));

        // Without a range nothing is given out, and what was given stays.
        let none = store
            .tcp_ports_settle(shop.id, std::slice::from_ref(&db), &[], None, 7)
            .await;
        assert_eq!(none, Ok(Ok(())));
        let none = store
            .tcp_ports_settle(shop.id, std::slice::from_ref(&cache), &[], None, 7)
            .await;
        assert_eq!(none, Ok(Err(TcpPortRefused::NoneLeft(cache))));

        store.project_delete(project.id).await.unwrap();
        assert_eq!(store.tcp_port_list(shop.id).await.unwrap(), []);
        let unknown = store.tcp_ports_settle(shop.id, &[db], &[], None, 7).await;
        assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    })
    .await;
}

#[tokio::test]
async fn a_domain_may_lead_to_a_service() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let service = TcpServiceName::new("db").unwrap();
        let by_name = Domain {
            tcp: Some(service.clone()),
            ..domain(shop.id, "db.example.org")
        };
        let led = async || {
            let domains = store.domain_list(shop.id).await.unwrap();
            let found = domains.iter().find(|domain| domain.host == "db.example.org");
            found.unwrap().tcp.clone()
        };
        store.domain_put(std::slice::from_ref(&by_name)).await.unwrap();
        assert_eq!(led().await, Some(service));
        let plain = Domain { tcp: None, ..by_name };
        store.domain_put(&[plain]).await.unwrap();
        assert_eq!(led().await, None);
    })
    .await;
}
