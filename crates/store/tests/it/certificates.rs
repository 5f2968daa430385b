//! Certificates, what is remembered of attempts, and host names that are written together.

use weir_model::CertificateId;
use weir_model::certificate::HttpsPolicy;
use weir_model::project::Domain;
use weir_store::{CertificateCount, CertificateName, CertificateOrigin, CountedKind, StoreError, StoredCertificate};

use crate::database::on_each_database;
use crate::fixtures::{domain, house};

fn certificate(number: u128, names: &[&str]) -> StoredCertificate {
    StoredCertificate {
        id: CertificateId::from_parts(1, number),
        origin: CertificateOrigin::Authority,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        chain: "-----BEGIN CERTIFICATE-----".to_owned(),
        key: "v1:sealed".to_owned(),
        not_before_ms: 10,
        not_after_ms: 100,
        renew_ms: None,
        ask_ms: 0,
        created_ms: i64::try_from(number).unwrap(),
    }
}

fn name(name: &str, failures: u32) -> CertificateName {
    CertificateName {
        name: name.to_owned(),
        looks: 1,
        failures,
        next_ms: 77,
        problem: "no such name\0".to_owned(),
    }
}

fn count(kind: CountedKind, at_ms: i64) -> CertificateCount {
    CertificateCount {
        kind,
        subject: "example.org".to_owned(),
        at_ms,
    }
}

#[tokio::test]
async fn a_certificate_takes_the_place_of_others_and_is_counted_at_once() {
    on_each_database(|database| async move {
        let store = &database.store;
        let (first, second) = (certificate(1, &["a.org", "b.org"]), certificate(2, &["a.org"]));
        store.certificate_insert(&first, &[], None).await.unwrap();
        let failed = [name("a.org", 2), name("c.org", 1)];
        store
            .certificate_name_set(&failed, &[count(CountedKind::Failure, 5)])
            .await
            .unwrap();
        let issued = count(CountedKind::Certificate, 6);
        store
            .certificate_insert(&second, &[first.id], Some(&issued))
            .await
            .unwrap();
        assert_eq!(store.certificate_list().await.unwrap(), std::slice::from_ref(&second));
        assert_eq!(store.certificate_id_list().await.unwrap(), [second.id]);
        let left = store.certificate_name_list().await.unwrap();
        assert_eq!(left.len(), 1, "what was wrong with a.org is over: {left:?}");
        assert_eq!(
            (left[0].name.as_str(), left[0].problem.as_str()),
            ("c.org", "no such name\u{fffd}")
        );
        let counted = store.certificate_count_list(0).await.unwrap();
        assert_eq!(counted, [count(CountedKind::Failure, 5), issued.clone()]);
        assert_eq!(store.certificate_count_list(6).await.unwrap(), [issued]);
        store.certificate_set_renewal(second.id, Some(60), 30).await.unwrap();
        let read = store.certificate_by_id(second.id).await.unwrap().unwrap();
        assert_eq!((read.renew_ms, read.ask_ms), (Some(60), 30));
        assert!(!format!("{read:?}").contains("sealed"), "{read:?}");
        // Written again, nothing of it is half done.
        let again = store
            .certificate_insert(&second, &[], Some(&count(CountedKind::Certificate, 9)))
            .await;
        assert!(again.is_err());
        assert_eq!(store.certificate_count_list(7).await.unwrap(), []);
        assert!(store.certificate_delete(second.id).await.unwrap());
        assert!(!store.certificate_delete(second.id).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn limits_are_kept_until_they_end() {
    on_each_database(|database| async move {
        let store = &database.store;
        for (subject, until_ms) in [("account", 50), ("domain:example.org", 90), ("account", 40)] {
            store.certificate_limit_set(subject, until_ms).await.unwrap();
        }
        let all = store.certificate_limit_list().await.unwrap();
        assert_eq!(all, [("account".to_owned(), 40), ("domain:example.org".to_owned(), 90)]);
        store
            .certificate_name_set(
                &[name("a.org", 1)],
                &[count(CountedKind::Order, 41), count(CountedKind::Order, 60)],
            )
            .await
            .unwrap();
        store.certificate_name_set(&[name("a.org", 3)], &[]).await.unwrap();
        assert_eq!(store.certificate_name_list().await.unwrap()[0].failures, 3);
        store.certificate_name_delete("a.org").await.unwrap();
        assert_eq!(store.certificate_name_list().await.unwrap(), []);
        store.certificate_count_prune(50).await.unwrap();
        assert_eq!(store.certificate_limit_list().await.unwrap().len(), 1);
        assert_eq!(
            store.certificate_count_list(0).await.unwrap(),
            [count(CountedKind::Order, 60)]
        );
    })
    .await;
}

#[tokio::test]
async fn host_names_are_put_all_or_none() {
    on_each_database(|database| async move {
        let store = &database.store;
        let (_, shop) = house(store, "shop").await;
        let (_, rival) = house(store, "rival").await;
        let before = store.domain_list_all().await.unwrap().len();
        store.domain_insert(&domain(rival.id, "taken.org")).await.unwrap();
        let put = [
            domain(shop.id, "a.org"),
            domain(shop.id, "taken.org"),
            domain(shop.id, "z.org"),
        ];
        let refused = store.domain_put(&put).await.unwrap_err();
        assert!(
            matches!(&refused, StoreError::Conflict(taken) if taken.words.contains("taken.org")),
            "{refused:?}"
        );
        assert_eq!(store.domain_list_all().await.unwrap().len(), before + 1);
        store.domain_put(&put[..1]).await.unwrap();
        let changed = Domain {
            redirect_to: Some("www.a.org".to_owned()),
            https: HttpsPolicy {
                redirect: false,
                hsts_s: 300,
            },
            ..domain(shop.id, "a.org")
        };
        store.domain_put(std::slice::from_ref(&changed)).await.unwrap();
        let kept = store.domain_list(shop.id).await.unwrap();
        let kept = kept.iter().find(|domain| domain.host == "a.org").unwrap();
        assert_eq!(
            (kept.id, &kept.redirect_to, kept.https),
            (put[0].id, &changed.redirect_to, changed.https)
        );
    })
    .await;
}
