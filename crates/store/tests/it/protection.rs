//! Who may pass, and what is closed.

use weir_model::protection::{Maintenance, User};
use weir_store::{AccessUser, StoreError};

use crate::database::on_each_database;
use crate::fixtures::house;

#[tokio::test]
async fn users_and_maintenance_belong_to_an_environment_and_go_with_it() {
    on_each_database(|database| async move {
        let store = database.store;
        let (project, shop) = house(&store, "shop").await;
        let user = |name: &str, hash: &str, created_ms| AccessUser {
            user: User {
                name: name.to_owned(),
                hash: hash.to_owned(),
            },
            created_ms,
        };
        assert_eq!(store.access_user_list(shop.id).await.unwrap(), []);
        store.access_user_put(shop.id, &user("ben", "$2", 1)).await.unwrap();
        store
            .access_user_put(shop.id, &user("anna's \"", "$1", 2))
            .await
            .unwrap();
        store.access_user_put(shop.id, &user("ben", "$3", 3)).await.unwrap();
        let expected = [user("anna's \"", "$1", 2), user("ben", "$3", 3)];
        assert_eq!(store.access_user_list(shop.id).await.unwrap(), expected);
        assert!(store.access_user_delete(shop.id, "ben").await.unwrap());
        assert!(!store.access_user_delete(shop.id, "ben").await.unwrap());

        let closed = Maintenance {
            since_ms: 5,
            until_ms: Some(6),
            message: Some("we move".to_owned()),
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            page: Some("<h1>ü</h1>".to_owned()),
            bypass: Some("0f".to_owned()),
        };
        assert_eq!(store.maintenance_of(shop.id).await.unwrap(), None);
        store
            .maintenance_set(shop.id, Some(&Maintenance::default()))
            .await
            .unwrap();
        store.maintenance_set(shop.id, Some(&closed)).await.unwrap();
        assert_eq!(store.maintenance_of(shop.id).await.unwrap(), Some(closed.clone()));
        store.maintenance_set(shop.id, None).await.unwrap();
        assert_eq!(store.maintenance_of(shop.id).await.unwrap(), None);

        let nowhere = weir_model::EnvironmentId::from_parts(1, 1);
        let unknown = store.maintenance_set(nowhere, Some(&closed)).await.unwrap_err();
        assert!(matches!(unknown, StoreError::NotFound(_)), "{unknown}");
        let unknown = store.access_user_put(nowhere, &user("x", "y", 1)).await.unwrap_err();
        assert!(matches!(unknown, StoreError::NotFound(_)), "{unknown}");

        store.maintenance_set(shop.id, Some(&closed)).await.unwrap();
        store.project_delete(project.id).await.unwrap();
        assert_eq!(store.maintenance_of(shop.id).await.unwrap(), None);
        assert_eq!(store.access_user_list(shop.id).await.unwrap(), []);
    })
    .await;
}
