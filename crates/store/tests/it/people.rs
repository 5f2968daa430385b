//! People, their roles and sign-ins, and the log of what was done.

use weir_model::policy::{Place, Reach, Role};
use weir_model::{InvitationId, MembershipId, ServiceAccountId, SignInId, UserId};
use weir_store::{
    AuditEntry, AuditPlace, AuditSearch, Invitation, Member, Membership, ServiceAccount, SignIn, StoreError, User,
};

use crate::database::{look, on_each_database};
use crate::fixtures::{self, house};

fn user(number: u128, email: &str) -> User {
    User {
        id: UserId::from_parts(1, number),
        email: email.to_owned(),
        name: "Anna \"O'Hara\" ü".to_owned(),
        password_hash: Some("$argon2id$…".to_owned()),
        totp_secret: None,
        totp_pending: None,
        totp_step: 0,
        language: String::new(),
        disabled: false,
        created_ms: 5,
    }
}

fn role(number: u128, member: Member, role: Role, reach: Reach) -> Membership {
    Membership {
        id: MembershipId::from_parts(1, number),
        member,
        role,
        reach,
        created_by: "setup".to_owned(),
        created_ms: 5,
    }
}

fn sign_in(number: u128, user: &User, used_ms: i64) -> SignIn {
    SignIn {
        id: SignInId::from_parts(1, number),
        secret_sha256: format!("hash {number}"),
        user: user.id,
        how: "password".to_owned(),
        waits: false,
        address: "192.0.2.1".to_owned(),
        agent: "a browser".to_owned(),
        created_ms: 1,
        used_ms,
        expires_ms: 1_000,
    }
}

#[tokio::test]
async fn the_first_is_alone_and_the_last_owner_stays() {
    on_each_database(|database| async move {
        let store = database.store;
        let (anna, ben) = (user(1, "anna@example.org"), user(2, "ben@example.org"));
        let owner = |number, user: &User| role(number, Member::User(user.id), Role::Owner, Reach::Platform);
        assert!(!store.user_any().await.unwrap());
        assert!(store.user_insert_first(&anna, &owner(1, &anna)).await.unwrap());
        assert!(!store.user_insert_first(&ben, &owner(2, &ben)).await.unwrap());
        assert_eq!(store.user_list().await.unwrap(), std::slice::from_ref(&anna));

        let mine = store.membership_list_of(Member::User(anna.id)).await.unwrap();
        assert_eq!(mine, [owner(1, &anna)]);
        assert!(!store.membership_change(&[mine[0].id], &[]).await.unwrap());
        let lower = role(3, Member::User(anna.id), Role::Admin, Reach::Platform);
        assert!(
            !store
                .membership_change(&[mine[0].id], std::slice::from_ref(&lower))
                .await
                .unwrap()
        );
        assert!(!store.user_set_disabled(anna.id, true).await.unwrap());
        assert!(!store.user_delete(anna.id).await.unwrap());
        assert_eq!(store.membership_list().await.unwrap(), mine, "nothing of it was kept");

        let invitation = Invitation {
            id: InvitationId::from_parts(1, 1),
            secret_sha256: "secret".to_owned(),
            email: Some(ben.email.clone()),
            roles: vec![(Role::Owner, Reach::Platform)],
            created_by: "anna@example.org".to_owned(),
            created_by_id: None,
            created_ms: 5,
            expires_ms: 100,
            used_ms: None,
        };
        store.invitation_insert(&invitation).await.unwrap();
        assert_eq!(
            store.invitation_list().await.unwrap(),
            std::slice::from_ref(&invitation)
        );
        assert_eq!(store.invitation_by_secret_sha256("secret", 100).await.unwrap(), None);
        assert_eq!(
            store.invitation_by_secret_sha256("secret", 99).await.unwrap(),
            Some(invitation.clone())
        );
        let taken = user(3, "anna@example.org");
        let conflict = store
            .invitation_accept(invitation.id, 50, Some(&taken), &[])
            .await
            .unwrap_err();
        assert!(matches!(conflict, StoreError::Conflict(_)), "{conflict}");
        let add = [owner(2, &ben)];
        assert!(
            store
                .invitation_accept(invitation.id, 50, Some(&ben), &add)
                .await
                .unwrap()
        );
        assert!(!store.invitation_accept(invitation.id, 51, None, &[]).await.unwrap());
        assert!(
            store.user_set_disabled(anna.id, true).await.unwrap(),
            "there is another owner"
        );
        assert!(!store.user_delete(ben.id).await.unwrap(), "one who is kept out is none");
        assert!(store.user_delete(anna.id).await.unwrap());
        assert_eq!(store.membership_list().await.unwrap(), [owner(2, &ben)]);
    })
    .await;
}

#[tokio::test]
async fn two_owners_who_go_at_once_leave_one() {
    on_each_database(|database| async move {
        let store = database.store;
        let (anna, ben) = (user(1, "anna@example.org"), user(2, "ben@example.org"));
        let owner = |number, user: &User| role(number, Member::User(user.id), Role::Owner, Reach::Platform);
        store.user_insert_first(&anna, &owner(1, &anna)).await.unwrap();
        let invitation = Invitation {
            id: InvitationId::from_parts(1, 1),
            secret_sha256: "secret".to_owned(),
            email: None,
            roles: Vec::new(),
            created_by: String::new(),
            created_by_id: None,
            created_ms: 5,
            expires_ms: 100,
            used_ms: None,
        };
        store.invitation_insert(&invitation).await.unwrap();
        let add = [owner(2, &ben)];
        store
            .invitation_accept(invitation.id, 50, Some(&ben), &add)
            .await
            .unwrap();
        let remove = |number| {
            let store = store.clone();
            async move {
                store
                    .membership_change(&[MembershipId::from_parts(1, number)], &[])
                    .await
                    .unwrap()
            }
        };
        let (first, second) = tokio::join!(remove(1), remove(2));
        assert!(first != second, "one of them stays: {first} {second}");
    })
    .await;
}

/// One that deploys.
fn program(home: Reach) -> ServiceAccount {
    ServiceAccount {
        id: ServiceAccountId::from_parts(1, 1),
        name: "ci".to_owned(),
        home,
        created_by: "anna".to_owned(),
        created_ms: 3,
    }
}

#[tokio::test]
async fn roles_go_with_what_they_are_for() {
    on_each_database(|database| async move {
        let store = database.store;
        let (project, production) = house(&store, "shop").await;
        let anna = user(1, "anna@example.org");
        let member = Member::User(anna.id);
        store
            .user_insert_first(&anna, &role(1, member, Role::Owner, Reach::Platform))
            .await
            .unwrap();
        let within = [
            role(2, member, Role::Viewer, Reach::Project(project.id)),
            role(
                3,
                member,
                Role::Developer,
                Reach::Environment(project.id, production.id),
            ),
            role(4, member, Role::Billing, Reach::Account(project.account)),
        ];
        assert!(store.membership_change(&[], &within).await.unwrap());
        assert_eq!(store.membership_list_of(member).await.unwrap().len(), 4);
        let twice = role(5, member, Role::Admin, Reach::Project(project.id));
        let conflict = store.membership_change(&[], &[twice]).await.unwrap_err();
        assert!(matches!(conflict, StoreError::Conflict(_)), "{conflict}");

        let account = program(Reach::Environment(project.id, production.id));
        let member = Member::ServiceAccount(account.id);
        let deploys = role(6, member, Role::Developer, account.home);
        store.service_account_insert(&account, &deploys).await.unwrap();
        let mut token = fixtures::token("hash of ci", None);
        token.service_account = Some(account.id);
        store.token_insert(&token).await.unwrap();
        store.token_touch(token.id, 77).await.unwrap();
        token.used_ms = Some(77);
        assert_eq!(store.token_by_secret_sha256("hash of ci").await.unwrap(), Some(token));
        assert_eq!(
            store.service_account_list().await.unwrap(),
            std::slice::from_ref(&account)
        );
        store.project_delete(project.id).await.unwrap();
        let left = store.membership_list().await.unwrap();
        assert_eq!(
            left.iter().map(|left| left.role).collect::<Vec<_>>(),
            [Role::Owner, Role::Billing]
        );
        assert_eq!(store.service_account_by_id(account.id).await.unwrap(), None);
        assert_eq!(store.token_by_secret_sha256("hash of ci").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn names_and_bounds_of_programs_are_those_of_their_place() {
    on_each_database(|database| async move {
        let store = database.store;
        let (project, production) = house(&store, "shop").await;
        let account = program(Reach::Environment(project.id, production.id));
        let deploys = role(6, Member::ServiceAccount(account.id), Role::Developer, account.home);
        store.service_account_insert(&account, &deploys).await.unwrap();
        // Names are unique in one place; the bound is that of the project.
        let of = |number: u128, home| ServiceAccount {
            id: ServiceAccountId::from_parts(1, number),
            home,
            ..account.clone()
        };
        for (number, home, fits) in [
            (2, account.home, false),
            (3, Reach::Project(project.id), true),
            (4, Reach::Platform, true),
        ] {
            let other = of(number, home);
            let role = role(6 + number, Member::ServiceAccount(other.id), Role::Viewer, home);
            let inserted = store.service_account_insert(&other, &role).await;
            assert_eq!(inserted.is_ok(), fits, "{inserted:?}");
        }
        assert_eq!(store.service_account_count(account.home).await.unwrap(), 2);
        assert_eq!(store.service_account_count(Reach::Platform).await.unwrap(), 1);
        let mut token = fixtures::token("hash of ci", None);
        token.service_account = Some(account.id);
        store.token_insert(&token).await.unwrap();
        assert_eq!(store.token_count_of(account.id).await.unwrap(), 1);
        assert_eq!(store.token_count(None).await.unwrap(), 0);
        let last = of(4, Reach::Platform);
        let invitation = Invitation {
            id: InvitationId::from_parts(1, 1),
            secret_sha256: "secret".to_owned(),
            email: None,
            roles: Vec::new(),
            created_by: last.name.clone(),
            created_by_id: Some(last.id.to_string()),
            created_ms: 5,
            expires_ms: 100,
            used_ms: None,
        };
        store.invitation_insert(&invitation).await.unwrap();
        let open = |now_ms| store.invitation_count_of(invitation.created_by_id.as_deref().unwrap(), now_ms);
        assert_eq!((open(99).await.unwrap(), open(100).await.unwrap()), (1, 0));
        assert!(store.service_account_delete(last.id).await.unwrap());
        assert_eq!(store.invitation_list().await.unwrap(), [], "it ends with who made it");
    })
    .await;
}

#[tokio::test]
async fn sign_ins_end_one_by_one_all_others_and_by_themselves() {
    on_each_database(|database| async move {
        let store = database.store;
        let anna = user(1, "anna@example.org");
        let owner = role(1, Member::User(anna.id), Role::Owner, Reach::Platform);
        store.user_insert_first(&anna, &owner).await.unwrap();
        for number in 1..=4 {
            let made = sign_in(number, &anna, i64::try_from(number).unwrap());
            store.sign_in_insert(&made, None).await.unwrap();
        }
        let found = store.sign_in_by_secret_sha256("hash 2").await.unwrap().unwrap();
        store.sign_in_touch(found.id, 99, "192.0.2.2").await.unwrap();
        let list = store.sign_in_list(anna.id).await.unwrap();
        assert_eq!((list.len(), list[0].id, list[0].used_ms), (4, found.id, 99));
        // A new one in place of an old one.
        let renewed = sign_in(5, &anna, 100);
        store.sign_in_insert(&renewed, Some(found.id)).await.unwrap();
        assert_eq!(store.sign_in_by_secret_sha256("hash 2").await.unwrap(), None);
        let other = UserId::from_parts(1, 9);
        assert!(
            !store.sign_in_delete(other, renewed.id).await.unwrap(),
            "it is somebody else's"
        );
        assert_eq!(store.sign_in_delete_others(anna.id, renewed.id).await.unwrap(), 3);
        for number in 10..70 {
            store.sign_in_insert(&sign_in(number, &anna, 200), None).await.unwrap();
        }
        assert_eq!(store.sign_in_list(anna.id).await.unwrap().len(), 50, "there is a bound");
        store.sign_in_prune(1_000, 0).await.unwrap();
        assert_eq!(store.sign_in_list(anna.id).await.unwrap(), []);

        store.password_reset_insert(anna.id, "link 1", 1, 100).await.unwrap();
        store.password_reset_insert(anna.id, "link 2", 2, 100).await.unwrap();
        store.sign_in_insert(&sign_in(80, &anna, 200), None).await.unwrap();
        assert!(
            !store.password_reset_use("link 1", "new", 50).await.unwrap(),
            "only the last holds"
        );
        assert!(
            !store.password_reset_use("link 2", "new", 100).await.unwrap(),
            "it is past"
        );
        assert!(store.password_reset_use("link 2", "new", 50).await.unwrap());
        assert!(
            !store.password_reset_use("link 2", "newer", 50).await.unwrap(),
            "it is used"
        );
        assert_eq!(store.sign_in_list(anna.id).await.unwrap(), []);
        assert_eq!(
            store.user_by_id(anna.id).await.unwrap().unwrap().password_hash.unwrap(),
            "new"
        );
    })
    .await;
}

#[tokio::test]
async fn a_code_is_taken_once() {
    on_each_database(|database| async move {
        let store = database.store;
        let anna = user(1, "anna@example.org");
        let owner = role(1, Member::User(anna.id), Role::Owner, Reach::Platform);
        store.user_insert_first(&anna, &owner).await.unwrap();
        store.totp_propose(anna.id, "sealed").await.unwrap();
        let codes = ["a".to_owned(), "b".to_owned()];
        assert!(!store.totp_confirm(anna.id, "another", 7, &codes).await.unwrap());
        assert!(store.totp_confirm(anna.id, "sealed", 7, &codes).await.unwrap());
        assert!(
            !store.totp_take(anna.id, 7).await.unwrap(),
            "the code that confirmed it"
        );
        assert!(store.totp_take(anna.id, 8).await.unwrap());
        assert!(!store.totp_take(anna.id, 8).await.unwrap());
        assert!(!store.totp_take(anna.id, 6).await.unwrap());
        assert!(store.recovery_code_take(anna.id, "a").await.unwrap());
        assert!(!store.recovery_code_take(anna.id, "a").await.unwrap());
        store.totp_remove(anna.id).await.unwrap();
        assert!(!store.recovery_code_take(anna.id, "b").await.unwrap());
        assert_eq!(
            store
                .user_by_email("anna@example.org")
                .await
                .unwrap()
                .unwrap()
                .totp_secret,
            None
        );
    })
    .await;
}

fn entry(who: &str, scope: &str, place: AuditPlace, at_ms: i64) -> AuditEntry {
    AuditEntry {
        sequence: 0,
        at_ms,
        who_kind: "person".to_owned(),
        who_id: Some("usr_1".to_owned()),
        who: who.to_owned(),
        role: "owner".to_owned(),
        address: "192.0.2.1".to_owned(),
        agent: "curl".to_owned(),
        method: "PUT".to_owned(),
        route: "/v1/projects/{project}/cap".to_owned(),
        scope: scope.to_owned(),
        place,
        target: String::new(),
        status: 200,
        request: "r1".to_owned(),
        detail: "100%_of it\0".to_owned(),
    }
}

/// The clock of the database, which decides what may be removed.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

/// One entry of long ago in a project, one of now in an environment of it, one of the whole Weir.
async fn three(store: &weir_store::Store) -> weir_model::project::Project {
    let (project, _) = house(store, "shop").await;
    let place = AuditPlace::from(Place::Project(project.account, project.id));
    for made in [
        entry("Anna@example.org", "shop", place, 10),
        entry("ben", "shop/staging", place, now_ms()),
        entry("ben", "weir", AuditPlace::default(), now_ms()),
    ] {
        store.audit_insert(&made).await.unwrap();
    }
    project
}

async fn found(store: &weir_store::Store, change: impl FnOnce(&mut AuditSearch)) -> Vec<i64> {
    let mut search = AuditSearch {
        limit: 10,
        ..AuditSearch::default()
    };
    change(&mut search);
    let list = store.audit_list(&search).await.unwrap();
    list.iter().map(|entry| entry.sequence).collect()
}

#[tokio::test]
async fn what_was_done_is_found() {
    on_each_database(|database| async move {
        let store = database.store.clone();
        const NONE: [i64; 0] = [];
        let project = three(&store).await;
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(found(&store, |_| {}).await, [3, 2, 1]);
        assert_eq!(
            found(&store, |search| (search.limit, search.before) = (1, Some(3))).await,
            [2]
        );
        assert_eq!(found(&store, |search| search.who = text("anna@")).await, [1]);
        assert_eq!(found(&store, |search| search.scope = text("shop")).await, [2, 1]);
        assert_eq!(found(&store, |search| search.scope = text("sho")).await, NONE);
        assert_eq!(
            found(&store, |search| search.route = text("put /v1/proj")).await,
            [3, 2, 1]
        );
        assert_eq!(found(&store, |search| search.text = text("100%_OF")).await, [3, 2, 1]);
        assert_eq!(found(&store, |search| search.text = text("100_x")).await, NONE);
        assert_eq!(found(&store, |search| search.since_ms = Some(11)).await, [3, 2]);
        assert_eq!(found(&store, |search| search.until_ms = Some(11)).await, [1]);
        let own = Some(vec![project.id.to_string()]);
        assert_eq!(found(&store, |search| search.within = own).await, [2, 1]);
        assert_eq!(found(&store, |search| search.within = Some(Vec::new())).await, NONE);
        let olga = entry("Ольга@example.org", "ΌΔΟΣ", AuditPlace::default(), 12);
        store.audit_insert(&olga).await.unwrap();
        for who in ["ольга", "ЛЬГА@EX", "USR_1 о"] {
            assert_eq!(found(&store, |search| search.who = text(who)).await[0], 4, "{who}");
        }
        assert_eq!(found(&store, |search| search.text = text("όδος")).await, [4]);
        // What was written before nothing was folded is found as before.
        let mut connection = look(&database).await;
        sqlx::raw_sql(
            "INSERT INTO audit_entries (sequence, at_ms, who_kind, who, role, address, agent, method, route, scope,
                target, status, request, detail)
             VALUES (100, 1, 'token', 'Old', 'none', '', '', 'PUT', '/', 'weir', '', 200, 'r', 'Long Ago')",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        assert_eq!(found(&store, |search| search.who = text("OLD")).await, [100]);
        assert_eq!(found(&store, |search| search.text = text("long ago")).await, [100]);
    })
    .await;
}

#[tokio::test]
async fn what_was_done_is_never_changed_and_not_removed_before_its_time() {
    on_each_database(|database| async move {
        let store = database.store.clone();
        three(&store).await;
        let mut connection = look(&database).await;
        for statement in [
            "UPDATE audit_entries SET who = 'nobody'",
            "UPDATE audit_entries SET status = 500 WHERE sequence = 1",
            "DELETE FROM audit_entries WHERE sequence = 2",
        ] {
            let done = sqlx::raw_sql(statement).execute(&mut connection).await;
            assert!(done.is_err(), "{statement}");
        }
        assert!(store.audit_prune(now_ms() + 1).await.is_err(), "not before its time");
        assert_eq!(found(&store, |_| {}).await, [3, 2, 1]);
        store.audit_prune(11).await.unwrap();
        assert_eq!(found(&store, |_| {}).await, [3, 2]);
        let next = entry("ben", "weir", AuditPlace::default(), 10);
        assert_eq!(store.audit_insert(&next).await.unwrap(), 4);
    })
    .await;
}
