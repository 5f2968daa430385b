//! People in browsers, for tests: cookies, and what a page of this server sends.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::Control;

pub(crate) const PASSWORD: &str = "four words of no use";

/// A browser: keeps cookies, and sends what a page of this server would.
pub(crate) struct Browser<'a> {
    control: &'a Control,
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) csrf: String,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(control: &'a Control) -> Self {
        Self {
            control,
            cookies: Vec::new(),
            csrf: String::new(),
        }
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let found = self.cookies.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>, csrf: &str) -> Response {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = self
            .control
            .request(method, path)
            .header("origin", &self.control.address)
            .header("sec-fetch-mode", "cors")
            .header("sec-fetch-site", "same-origin")
            .header("user-agent", "a test");
        if !pairs.is_empty() {
            request = request.header("cookie", pairs.join("; "));
        }
        if !csrf.is_empty() {
            request = request.header("x-weir-csrf", csrf);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let response = self.send(method, path, body, &self.csrf).await;
        for value in response.headers().get_all("set-cookie") {
            let text = value.to_str().unwrap();
            assert!(text.contains("HttpOnly") && text.contains("SameSite=Strict"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(own, _)| own != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let status = response.status();
        let text = response.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if let Some(csrf) = body["csrf"].as_str() {
            csrf.clone_into(&mut self.csrf);
        }
        (status, body)
    }

    pub(crate) async fn sign_in(&mut self, email: &str, password: &str) -> (StatusCode, Value) {
        let body = json!({"email": email, "password": password});
        self.call(Method::POST, "/v1/session", Some(body)).await
    }

    pub(crate) async fn state(&mut self) -> String {
        let (_, body) = self.call(Method::GET, "/v1/session", None).await;
        body["state"].as_str().unwrap().to_owned()
    }
}

/// The first owner, signed in.
pub(crate) async fn owner(control: &Control) -> Browser<'_> {
    let mut browser = Browser::new(control);
    let body = json!({"admin_token": control.admin, "name": "Anna", "email": "Anna@example.org", "password": PASSWORD});
    let (status, body) = browser.call(Method::POST, "/v1/setup", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    browser
}

/// Somebody who came by an invitation of the admin token, signed in.
pub(crate) async fn somebody<'a>(control: &'a Control, email: &str, role: &str, scope: &str) -> Browser<'a> {
    let body = json!({"email": email, "grants": [{"role": role, "scope": scope}]});
    let (status, made) = control.call(Method::POST, "/v1/invitations", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let mut browser = Browser::new(control);
    let body = json!({"secret": made["secret"], "name": email, "password": PASSWORD});
    let (status, body) = browser.call(Method::POST, "/v1/invitations/accept", Some(body)).await;
    assert_eq!(
        (status, &body["state"]),
        (StatusCode::CREATED, &json!("signed-in")),
        "{body}"
    );
    browser
}

pub(crate) fn kind((status, body): (StatusCode, Value)) -> (u16, String) {
    (status.as_u16(), body["type"].as_str().unwrap_or_default().to_owned())
}
