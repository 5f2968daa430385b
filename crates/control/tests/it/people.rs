//! People: signing in, what others must not be able to do meanwhile, roles, and what is written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hmac::{Hmac, Mac as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_control::clock::{Clock, SystemClock};
use weir_model::UnixMillis;

use crate::browser::{Browser, PASSWORD, kind, owner, somebody};
use crate::harness::Control;

/// The machine's clock, ahead by what the test says.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now_ms(&self) -> UnixMillis {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct Still(UnixMillis);

impl Clock for Still {
    fn now_ms(&self) -> UnixMillis {
        self.0
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

#[tokio::test]
async fn the_first_visit_makes_the_owner_once() {
    let control = Control::start().await;
    let mut browser = Browser::new(&control);
    assert_eq!(browser.state().await, "setup");
    let setup = |token: &str, password: &str| {
        Some(json!({"admin_token": token, "name": "Anna", "email": "anna@example.org", "password": password}))
    };
    let weaker = control.token("admin", None).await;
    for token in ["weir_wrong", weaker.as_str()] {
        let answer = browser.call(Method::POST, "/v1/setup", setup(token, PASSWORD)).await;
        assert_eq!(kind(answer), (401, "wrong-admin-token".to_owned()));
    }
    let answer = browser
        .call(Method::POST, "/v1/setup", setup(&control.admin, "short"))
        .await;
    assert_eq!(kind(answer), (422, "weak-password".to_owned()));
    let mut browser = owner(&control).await;
    assert_eq!(browser.state().await, "signed-in");
    let answer = browser
        .call(Method::POST, "/v1/setup", setup(&control.admin, PASSWORD))
        .await;
    assert_eq!(kind(answer), (409, "already-set-up".to_owned()));
    let (_, who) = browser.call(Method::GET, "/v1/whoami", None).await;
    assert_eq!(
        (&who["token"], &who["kind"], &who["scope"], &who["rights"][0]["scope"]),
        (
            &json!("anna@example.org"),
            &json!("person"),
            &json!("owner"),
            &json!("weir")
        ),
        "{who}"
    );
    assert_eq!(Browser::new(&control).state().await, "signed-out");
    let (status, project) = browser
        .call(Method::POST, "/v1/projects", Some(json!({"name": "shop"})))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{project}");
    assert_eq!(
        browser.call(Method::DELETE, "/v1/session", None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(browser.cookie("weir"), None);
    assert_eq!(browser.state().await, "signed-out");
    assert_eq!(
        kind(browser.call(Method::GET, "/v1/projects", None).await),
        (401, "signed-out".to_owned())
    );
}

#[tokio::test]
async fn nothing_is_changed_by_pages_of_others_and_no_session_is_fixed_beforehand() {
    let control = Control::start().await;
    let browser = owner(&control).await;
    let make = |name: &str| Some(json!({"name": name}));
    let without = browser.send(Method::POST, "/v1/projects", make("one"), "").await;
    assert_eq!(without.status(), StatusCode::FORBIDDEN);
    let mut other = Browser::new(&control);
    assert_eq!(other.sign_in("anna@example.org", PASSWORD).await.0, StatusCode::OK);
    let stolen = browser
        .send(Method::POST, "/v1/projects", make("one"), &other.csrf)
        .await;
    assert_eq!(stolen.status(), StatusCode::FORBIDDEN, "that of another session");
    let cookie = format!("weir={}", browser.cookie("weir").unwrap());
    let foreign = |method: Method, path: &str| {
        let request = control.request(method, path).header("origin", "https://evil.example");
        request.header("cookie", &cookie).header("x-weir-csrf", &browser.csrf)
    };
    let sent = foreign(Method::POST, "/v1/projects")
        .json(&make("one"))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), StatusCode::FORBIDDEN);
    let exec = "/v1/projects/one/environments/production/exec?command=id";
    let socket = foreign(Method::GET, exec)
        .header("upgrade", "websocket")
        .send()
        .await
        .unwrap();
    assert_eq!(socket.status(), StatusCode::FORBIDDEN);
    let socket = control.request(Method::GET, exec).header("upgrade", "websocket");
    let socket = socket.header("cookie", &cookie).send().await.unwrap();
    assert_eq!(socket.status(), StatusCode::FORBIDDEN, "a socket without an origin");
    assert_eq!(control.call(Method::GET, "/v1/projects", None).await.1, json!([]));

    // A cookie that somebody else has put there is not the one that counts after signing in.
    let planted = "A".repeat(43);
    let mut victim = Browser::new(&control);
    victim.cookies.push(("weir".to_owned(), planted.clone()));
    assert_eq!(victim.sign_in("anna@example.org", PASSWORD).await.0, StatusCode::OK);
    let first = victim.cookie("weir").unwrap().to_owned();
    assert_ne!(first, planted);
    // And with each sign-in the one before ends.
    assert_eq!(victim.sign_in("anna@example.org", PASSWORD).await.0, StatusCode::OK);
    assert_ne!(victim.cookie("weir").unwrap(), first);
    let mut old = Browser::new(&control);
    old.cookies.push(("weir".to_owned(), first));
    assert_eq!(old.state().await, "signed-out");
}

#[tokio::test]
async fn behind_tls_the_cookie_is_one_that_no_other_host_can_set() {
    let control = Control::start().await;
    owner(&control).await;
    let host = control.address.strip_prefix("http://").unwrap();
    let response = control
        .request(Method::POST, "/v1/session")
        .header("origin", format!("https://{host}"))
        .json(&json!({"email": "anna@example.org", "password": PASSWORD}))
        .send()
        .await
        .unwrap();
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    let session = cookies[0].to_str().unwrap();
    assert!(session.starts_with("__Host-weir="), "{session}");
    assert!(
        session.contains("; Secure") && session.contains("Path=/;") && !session.contains("Domain"),
        "{session}"
    );
    assert!(cookies[1].to_str().unwrap().contains("; Secure"));
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn a_new_password_renews_the_session_one_is_in_and_ends_the_others() {
    let control = Control::start().await;
    let mut here = owner(&control).await;
    let mut there = Browser::new(&control);
    there.sign_in("anna@example.org", PASSWORD).await;
    let (_, list) = here.call(Method::GET, "/v1/me/sessions", None).await;
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(
        list.as_array()
            .unwrap()
            .iter()
            .filter(|one| one["current"] == true)
            .count(),
        1
    );
    let before = here.cookie("weir").unwrap().to_owned();
    let change = |current: &str, new: &str| Some(json!({"current": current, "new": new}));
    let answer = here
        .call(
            Method::PUT,
            "/v1/me/password",
            change("wrong one here", "another four words"),
        )
        .await;
    assert_eq!(kind(answer), (401, "wrong-password".to_owned()));
    let answer = here
        .call(Method::PUT, "/v1/me/password", change(PASSWORD, "anna@example.org"))
        .await;
    assert_eq!(kind(answer), (422, "weak-password".to_owned()));
    let (status, body) = here
        .call(Method::PUT, "/v1/me/password", change(PASSWORD, "another four words"))
        .await;
    assert_eq!((status, &body["ended"]), (StatusCode::OK, &json!(1)), "{body}");
    assert_ne!(here.cookie("weir").unwrap(), before);
    assert_eq!(here.state().await, "signed-in");
    assert_eq!(
        here.call(Method::POST, "/v1/projects", Some(json!({"name": "shop"})))
            .await
            .0,
        StatusCode::CREATED
    );
    assert_eq!(there.state().await, "signed-out");
    assert_eq!(
        kind(there.sign_in("anna@example.org", PASSWORD).await),
        (401, "wrong-credentials".to_owned())
    );
    assert_eq!(
        there.sign_in("anna@example.org", "another four words").await.0,
        StatusCode::OK
    );
    let (_, list) = here.call(Method::GET, "/v1/me/sessions", None).await;
    let other = list
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["current"] == false)
        .unwrap();
    let path = format!("/v1/me/sessions/{}", other["id"].as_str().unwrap());
    assert_eq!(here.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(there.state().await, "signed-out");
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let clock = Arc::new(Ahead::default());
    let control = Control::start_by(clock.clone()).await;
    let mut browser = owner(&control).await;
    let days = |days: i64| clock.0.store(days * 86_400_000, Ordering::SeqCst);
    for day in [29, 58, 87] {
        days(day);
        assert_eq!(
            browser.call(Method::GET, "/v1/projects", None).await.0,
            StatusCode::OK,
            "day {day}"
        );
    }
    days(91);
    assert_eq!(browser.state().await, "signed-out", "it is too old");
    assert_eq!(browser.sign_in("anna@example.org", PASSWORD).await.0, StatusCode::OK);
    days(122);
    assert_eq!(browser.state().await, "signed-out", "it was not used for too long");
}

#[tokio::test]
async fn what_is_open_ends_with_the_session_and_goes_on_with_a_new_password() {
    let control = Control::start().await;
    let mut here = owner(&control).await;
    let mut there = Browser::new(&control);
    there.sign_in("anna@example.org", PASSWORD).await;
    let mine = here.send(Method::GET, "/v1/events", None, "").await;
    let other = there.send(Method::GET, "/v1/events", None, "").await;
    let body = json!({"current": PASSWORD, "new": "another four words"});
    assert_eq!(
        here.call(Method::PUT, "/v1/me/password", Some(body)).await.0,
        StatusCode::OK
    );
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), other.bytes()).await;
    assert!(ended.is_ok(), "the stream of a session that was ended goes on");
    assert!(
        tokio::time::timeout(std::time::Duration::from_secs(6), mine.bytes())
            .await
            .is_err(),
        "the stream of the session that goes on has ended"
    );
}

fn code_of(secret: &str, now_ms: i64) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = secret
        .chars()
        .map(|character| format!("{:05b}", ALPHABET.find(character).unwrap()))
        .collect();
    let key: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect();
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&key).unwrap();
    mac.update(&(now_ms / 30_000).to_be_bytes());
    let sum = mac.finalize().into_bytes();
    let offset = usize::from(sum[19] & 15);
    let number = u32::from_be_bytes(sum[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_no_code_is_good_twice() {
    let clock = Arc::new(Ahead::default());
    let control = Control::start_by(clock.clone()).await;
    let mut browser = owner(&control).await;
    let (status, made) = browser.call(Method::POST, "/v1/me/totp", None).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(
        made["uri"]
            .as_str()
            .unwrap()
            .starts_with("otpauth://totp/Weir:anna%40example%2Eorg?secret=")
    );
    let code = || code_of(&secret, clock.now_ms());
    let confirm = |code: &str| Some(json!({"code": code}));
    let answer = browser.call(Method::PUT, "/v1/me/totp", confirm("000000")).await;
    assert_eq!(kind(answer), (422, "wrong-code".to_owned()));
    let first = code();
    let (status, codes) = browser.call(Method::PUT, "/v1/me/totp", confirm(&first)).await;
    assert_eq!(
        (status, codes["codes"].as_array().unwrap().len()),
        (StatusCode::OK, 10),
        "{codes}"
    );

    const SECOND: &str = "/v1/session/second-factor";
    let mut other = Browser::new(&control);
    let (status, body) = other.sign_in("anna@example.org", PASSWORD).await;
    assert_eq!((status, &body["state"]), (StatusCode::OK, &json!("second-factor")));
    let answer = other.call(Method::GET, "/v1/projects", None).await;
    assert_eq!(kind(answer), (401, "second-factor-needed".to_owned()));
    let half = other.cookie("weir").unwrap().to_owned();
    let answer = other.call(Method::POST, SECOND, confirm(&first)).await;
    assert_eq!(
        kind(answer),
        (401, "wrong-code".to_owned()),
        "it confirmed the secret already"
    );
    clock.0.fetch_add(30_000, Ordering::SeqCst);
    let second = code();
    let (status, body) = other.call(Method::POST, SECOND, confirm(&second)).await;
    assert_eq!(
        (status, &body["state"]),
        (StatusCode::OK, &json!("signed-in")),
        "{body}"
    );
    assert_ne!(
        other.cookie("weir").unwrap(),
        half,
        "with more rights comes another session"
    );
    let mut replay = Browser::new(&control);
    replay.sign_in("anna@example.org", PASSWORD).await;
    let answer = replay.call(Method::POST, SECOND, confirm(&second)).await;
    assert_eq!(kind(answer), (401, "wrong-code".to_owned()));
    let recovery = codes["codes"][3].as_str().unwrap();
    assert_eq!(
        replay.call(Method::POST, SECOND, confirm(recovery)).await.0,
        StatusCode::OK
    );
    let mut again = Browser::new(&control);
    again.sign_in("anna@example.org", PASSWORD).await;
    let answer = again.call(Method::POST, SECOND, confirm(recovery)).await;
    assert_eq!(kind(answer), (401, "wrong-code".to_owned()));
    let another = browser.call(Method::POST, "/v1/me/totp", None).await;
    assert_eq!(
        kind(another),
        (409, "second-factor-on".to_owned()),
        "not without the password"
    );
    let answer = browser.call(Method::DELETE, "/v1/me/totp", None).await;
    assert_eq!(kind(answer), (401, "wrong-password".to_owned()));
}

#[tokio::test]
async fn guessing_costs_time_and_locks_nobody_out() {
    let control = Control::start_by(Arc::new(Still(SystemClock.now_ms()))).await;
    let mut known = owner(&control).await;
    known.call(Method::DELETE, "/v1/session", None).await;
    let mut attacker = Browser::new(&control);
    for _ in 0..5 {
        let answer = attacker.sign_in("anna@example.org", "wrong wrong wrong").await;
        assert_eq!(kind(answer), (401, "wrong-credentials".to_owned()));
    }
    let answer = attacker.sign_in("anna@example.org", PASSWORD).await;
    assert_eq!(kind(answer), (429, "too-many-failures".to_owned()), "right or wrong");
    // From the same address, in a browser in which she was signed in before.
    assert_eq!(known.sign_in("anna@example.org", PASSWORD).await.0, StatusCode::OK);
    let mut forged = Browser::new(&control);
    let device = known.cookie("weir-device").unwrap().replace("usr_", "usr-");
    forged.cookies.push(("weir-device".to_owned(), device));
    let answer = forged.sign_in("anna@example.org", PASSWORD).await;
    assert_eq!(kind(answer), (429, "too-many-failures".to_owned()));
    let (_, audit) = control
        .call(Method::GET, "/v1/audit?operation=POST+/v1/session&limit=500", None)
        .await;
    let refused = audit
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["outcome"] == "refused");
    assert_eq!(refused.count(), 7, "{audit}");
    assert!(
        audit[0]["who"]["kind"] == "unknown" && audit[0]["who"]["name"] == "anna@example.org",
        "{}",
        audit[0]
    );
    assert!(
        !audit.to_string().contains("wrong wrong"),
        "passwords are never written down"
    );
}

#[tokio::test]
async fn people_get_no_more_than_those_have_who_invite_them() {
    let control = Control::start().await;
    let mut anna = owner(&control).await;
    control.project("shop").await;
    control.project("other").await;
    let mut ben = somebody(&control, "ben@example.org", "admin", "shop").await;
    let mut carl = somebody(&control, "carl@example.org", "developer", "shop/production").await;
    let (_, seen) = ben.call(Method::GET, "/v1/projects", None).await;
    assert_eq!(seen.as_array().unwrap().len(), 1, "{seen}");
    let invite = |role: &str, scope: &str| Some(json!({"grants": [{"role": role, "scope": scope}]}));
    const INVITATIONS: &str = "/v1/invitations";
    assert_eq!(
        ben.call(Method::POST, INVITATIONS, invite("admin", "shop")).await.0,
        StatusCode::CREATED
    );
    assert_eq!(
        kind(ben.call(Method::POST, INVITATIONS, invite("owner", "shop")).await).0,
        403
    );
    assert_eq!(
        kind(ben.call(Method::POST, INVITATIONS, invite("viewer", "weir")).await).0,
        403
    );
    for scope in [
        "other",
        "other/production",
        "other/nothing",
        "account:default",
        "nothing",
    ] {
        assert_eq!(
            kind(ben.call(Method::POST, INVITATIONS, invite("viewer", scope)).await).0,
            404,
            "{scope}"
        );
    }
    assert_eq!(
        kind(carl.call(Method::POST, INVITATIONS, invite("viewer", "shop")).await).0,
        403
    );

    // Nobody becomes more by a service account or a token, either.
    let account = |role: &str, scope: &str| Some(json!({"name": "ci", "grant": {"role": role, "scope": scope}}));
    const ACCOUNTS: &str = "/v1/service-accounts";
    assert_eq!(
        kind(ben.call(Method::POST, ACCOUNTS, account("owner", "shop")).await).0,
        403
    );
    let owned = anna.call(Method::POST, ACCOUNTS, account("owner", "shop")).await.1;
    let tokens = format!("{ACCOUNTS}/{}/tokens", owned["id"].as_str().unwrap());
    assert_eq!(
        kind(ben.call(Method::POST, &tokens, Some(json!({"name": "x"}))).await).0,
        403
    );
    assert_eq!(
        anna.call(Method::POST, &tokens, Some(json!({"name": "x"}))).await.0,
        StatusCode::CREATED
    );
    let token = |scope: &str| Some(json!({"name": "x", "scope": scope, "project": "shop"}));
    assert_eq!(
        kind(ben.call(Method::POST, "/v1/tokens", token("admin")).await).0,
        403,
        "it could destroy"
    );
    assert_eq!(
        ben.call(Method::POST, "/v1/tokens", token("deploy")).await.0,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn who_is_more_is_not_taken_over_and_the_last_owner_stays() {
    let control = Control::start().await;
    let mut anna = owner(&control).await;
    let mut eve = somebody(&control, "eve@example.org", "admin", "weir").await;
    for (method, path, body) in [
        (Method::POST, "/v1/people/anna@example.org/password-reset", None),
        (Method::DELETE, "/v1/people/anna@example.org/totp", None),
        (Method::DELETE, "/v1/people/anna@example.org", None),
        (
            Method::PATCH,
            "/v1/people/anna@example.org",
            Some(json!({"state": "suspended"})),
        ),
        (
            Method::PUT,
            "/v1/people/anna@example.org/grants",
            Some(json!({"grants": []})),
        ),
        (
            Method::PUT,
            "/v1/people/eve@example.org/grants",
            Some(json!({"grants": [{"role": "owner", "scope": "weir"}]})),
        ),
    ] {
        assert_eq!(
            kind(eve.call(method.clone(), path, body).await).0,
            403,
            "{method} {path}"
        );
    }
    let answer = anna.call(Method::DELETE, "/v1/people/anna@example.org", None).await;
    assert_eq!(kind(answer), (409, "last-owner".to_owned()));
    let none = Some(json!({"grants": []}));
    let answer = anna.call(Method::PUT, "/v1/people/anna@example.org/grants", none).await;
    assert_eq!(kind(answer), (409, "last-owner".to_owned()));
}

#[tokio::test]
async fn lists_show_what_is_for_the_one_who_asks() {
    let control = Control::start().await;
    owner(&control).await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    control.project("other").await;
    let body = json!({"name": "staging", "branch": "staging"});
    let path = "/v1/projects/shop/environments";
    assert_eq!(
        control.call(Method::POST, path, Some(body)).await.0,
        StatusCode::CREATED
    );
    let mut carl = somebody(&control, "carl@example.org", "viewer", "shop/staging").await;
    let (_, projects) = carl.call(Method::GET, "/v1/projects", None).await;
    assert_eq!(projects.as_array().unwrap().len(), 1);
    let environments = projects[0]["environments"].as_array().unwrap();
    assert_eq!((environments.len(), &environments[0]["name"]), (1, &json!("staging")));
    let staging = "/v1/projects/shop/environments/staging";
    let (status, body) = carl.call(Method::GET, staging, None).await;
    assert_eq!((status, body.get("money")), (StatusCode::OK, None), "{body}");
    let production = carl
        .call(Method::GET, "/v1/projects/shop/environments/production", None)
        .await;
    assert_eq!(kind(production).0, 404);
    let (_, tasks) = carl.call(Method::GET, "/v1/tasks", None).await;
    assert_eq!(tasks, json!([]), "that of production is not for him");
    assert_eq!(kind(carl.call(Method::GET, "/v1/caps", None).await).0, 403);
    assert_eq!(kind(carl.call(Method::GET, "/v1/audit", None).await).0, 403);
    let metrics = carl.send(Method::GET, "/metrics", None, "").await.text().await.unwrap();
    assert!(
        !metrics.contains("production") && !metrics.contains("weir_cap_limit{"),
        "{metrics}"
    );
    assert!(!metrics.contains("weir_cap_settled{"), "{metrics}");
    let (_, people) = control.call(Method::GET, "/v1/people", None).await;
    assert_eq!(people.as_array().unwrap().len(), 2);
    let body = json!({"state": "suspended"});
    assert_eq!(
        control
            .call(Method::PATCH, "/v1/people/carl@example.org", Some(body))
            .await
            .0,
        StatusCode::OK
    );
    assert_eq!(carl.state().await, "signed-out");
    assert_eq!(
        kind(carl.sign_in("carl@example.org", PASSWORD).await),
        (401, "wrong-credentials".to_owned())
    );
}

#[tokio::test]
async fn who_is_signed_in_is_told_what_they_may_by_project() {
    let control = Control::start().await;
    owner(&control).await;
    control.project("shop").await;
    control.project("blog").await;
    let mut vera = somebody(&control, "vera@example.org", "billing", "account:default").await;
    let (_, state) = vera.call(Method::GET, "/v1/session", None).await;
    let role = |scope: &str| json!({"role": "billing", "scope": scope});
    assert_eq!(state["me"]["person"]["grants"], json!([role("account:default")]));
    let mut may = state["me"]["may"].as_array().unwrap().clone();
    may.sort_by_key(|grant| grant["scope"].as_str().unwrap().to_owned());
    assert_eq!(may, [role("account:default"), role("blog"), role("shop")]);
    let mut dora = somebody(&control, "dora@example.org", "developer", "shop").await;
    let (_, me) = dora
        .call(Method::PATCH, "/v1/me", Some(json!({"language": "ru"})))
        .await;
    assert_eq!(me["may"], json!([{"role": "developer", "scope": "shop"}]));
}

#[tokio::test]
async fn a_link_sets_a_password_once_and_an_invitation_is_accepted_once() {
    let control = Control::start().await;
    let mut anna = owner(&control).await;
    let mut dora = somebody(&control, "dora@example.org", "viewer", "weir").await;
    let (status, link) = anna
        .call(Method::POST, "/v1/people/dora@example.org/password-reset", None)
        .await;
    assert_eq!(status, StatusCode::CREATED, "{link}");
    let used = |password: &str| Some(json!({"secret": link["secret"], "password": password}));
    const USE: &str = "/v1/password-resets/use";
    let mut fresh = Browser::new(&control);
    assert_eq!(
        kind(fresh.call(Method::POST, USE, used("short")).await),
        (422, "weak-password".to_owned())
    );
    assert_eq!(
        fresh.call(Method::POST, USE, used("some other words")).await.0,
        StatusCode::OK
    );
    assert_eq!(fresh.state().await, "signed-in");
    assert_eq!(dora.state().await, "signed-out");
    let again = Browser::new(&control)
        .call(Method::POST, USE, used("some newer words"))
        .await;
    assert_eq!(kind(again), (404, "reset-not-found".to_owned()));

    // Who is signed in gets the roles on top; somebody else's invitation is not for her.
    let body = json!({"email": "dora@example.org", "grants": [{"role": "owner", "scope": "account:default"}]});
    let (_, invitation) = anna.call(Method::POST, "/v1/invitations", Some(body)).await;
    let accept = Some(json!({"secret": invitation["secret"]}));
    let wrong = anna.call(Method::POST, "/v1/invitations/accept", accept.clone()).await;
    assert_eq!(kind(wrong), (409, "another-person".to_owned()));
    let (_, offer) = fresh.call(Method::POST, "/v1/invitations/look", accept.clone()).await;
    assert_eq!(offer["grants"], json!([{"role": "owner", "scope": "account:default"}]));
    let without = fresh
        .send(Method::POST, "/v1/invitations/accept", accept.clone(), "")
        .await;
    assert_eq!(without.status(), StatusCode::FORBIDDEN, "a page of another site");
    assert_eq!(
        fresh
            .call(Method::POST, "/v1/invitations/accept", accept.clone())
            .await
            .0,
        StatusCode::CREATED
    );
    let (_, who) = fresh.call(Method::GET, "/v1/whoami", None).await;
    assert_eq!(
        (who["rights"].as_array().unwrap().len(), &who["scope"]),
        (2, &json!("owner"))
    );
    let again = fresh.call(Method::POST, "/v1/invitations/accept", accept).await;
    assert_eq!(kind(again), (404, "invitation-not-found".to_owned()));
}

#[tokio::test]
async fn what_was_done_is_written_down_for_those_who_look_after_it() {
    let control = Control::start().await;
    let mut anna = owner(&control).await;
    control.project("shop").await;
    control.project("other").await;
    let mut ben = somebody(&control, "=ben@example.org", "admin", "shop").await;
    let variables = "/v1/projects/shop/environments/production/variables";
    let body = json!({"set": {"KEY": {"value": "hunter2", "secret": true}}});
    assert_eq!(ben.call(Method::PATCH, variables, Some(body)).await.0, StatusCode::OK);
    let answer = ben
        .call(Method::PUT, "/v1/time-zone", Some(json!({"time_zone": "UTC"})))
        .await;
    assert_eq!(kind(answer).0, 403);
    let (_, own) = ben.call(Method::GET, "/v1/audit", None).await;
    let own = own.as_array().unwrap();
    assert!(
        own.iter()
            .all(|entry| entry["scope"].as_str().unwrap().starts_with("shop")),
        "{own:?}"
    );
    assert_eq!(
        own[0]["operation"],
        "PATCH /v1/projects/{project}/environments/{environment}/variables"
    );
    assert_eq!(
        (
            &own[0]["scope"],
            &own[0]["role"],
            &own[0]["outcome"],
            &own[0]["address"]
        ),
        (
            &json!("shop/production"),
            &json!("admin"),
            &json!("done"),
            &json!("127.0.0.1")
        )
    );
    let (_, refused) = anna
        .call(Method::GET, "/v1/audit?who=ben&operation=time-zone", None)
        .await;
    assert_eq!(
        (&refused[0]["outcome"], &refused[0]["status"]),
        (&json!("refused"), &json!(403))
    );
    let (_, first) = anna.call(Method::GET, "/v1/audit?limit=2", None).await;
    let before = first[1]["sequence"].as_i64().unwrap();
    let (_, next) = anna
        .call(Method::GET, &format!("/v1/audit?limit=1&before={before}"), None)
        .await;
    assert_eq!(next[0]["sequence"], before - 1);
    let csv = anna
        .send(Method::GET, "/v1/audit?format=csv", None, "")
        .await
        .text()
        .await
        .unwrap();
    assert!(
        csv.starts_with("sequence,at,") && csv.contains("\"'=ben@example.org\""),
        "{csv}"
    );
    let lines = anna
        .send(Method::GET, "/v1/audit?format=jsonl", None, "")
        .await
        .text()
        .await
        .unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["sequence"], 1);
    for text in [&csv, &lines] {
        for secret in [
            "hunter2",
            PASSWORD,
            control.admin.as_str(),
            anna.cookie("weir").unwrap(),
        ] {
            assert!(!text.contains(secret), "{secret} was written down");
        }
    }
}
