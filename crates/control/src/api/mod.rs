//! The HTTP API under `/v1`, as `weir-api` describes its shapes.
//!
//! A handler extracts, calls one function and maps the answer; what happens is in the rooms
//! beside (`projects`, `configuration`, `hosts`, `tokens`, `status`). Every route is entered
//! once, in [`build`], with what a token needs for it: nothing is reachable by forgetting.

mod access_log;
pub(crate) mod accounts;
pub mod auth;
mod billing;
pub(crate) mod cache;
mod canary;
pub(crate) mod caps;
mod certificates;
mod costs;
mod environments;
mod error;
mod extract;
mod guard;
mod guard_rules;
mod idempotency;
mod invoices;
mod ledger;
mod logs;
mod metrics;
mod notices;
pub mod openapi;
mod platform;
pub mod present;
mod prices;
mod projects;
pub(crate) mod protection;
pub(crate) mod scopes;
mod sessions;
mod source;
mod tasks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use http::{Method, StatusCode, Uri};

use crate::context::Context;
pub use auth::Need;
pub use error::ApiError;
pub use guard::BodyKind;
use guard::Guard;
pub use source::spool_folder;

/// Largest body of a request, other than the upload of a source.
const BODY_BYTES: usize = 4 << 20;

/// What handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    /// The parts of control.
    pub context: Context,
    /// Counts failed log-ins.
    pub limiter: Arc<auth::Limiter>,
}

/// A route, for the tests that go through all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Method.
    pub method: Method,
    /// Path with `{…}` where something is to be filled in.
    pub path: &'static str,
    /// What a token needs.
    pub need: Need,
}

/// Routes and the list of them, grown together.
struct Routes {
    api: Api,
    router: Router<Api>,
    endpoints: Vec<Endpoint>,
}

impl Routes {
    fn add<H, T>(self, method: Method, path: &'static str, need: Need, handler: H) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.add_with(method, path, need, BodyKind::Small, handler)
    }

    fn add_with<H, T>(mut self, method: Method, path: &'static str, need: Need, body: BodyKind, handler: H) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        let limit = match body {
            BodyKind::Small => DefaultBodyLimit::max(BODY_BYTES),
            BodyKind::Streamed => DefaultBodyLimit::disable(),
        };
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::TRACE);
        let guard = from_fn_with_state(
            Guard {
                api: self.api.clone(),
                need,
                body,
            },
            guard::guard,
        );
        self.router = self
            .router
            .route(path, on(filter, handler).route_layer(guard).route_layer(limit));
        self.endpoints.push(Endpoint { method, path, need });
        self
    }
}

/// The routes of `/v1`.
pub fn router(context: Context) -> Router {
    build(context).0
}

/// The routes of `/v1`, and the list of them.
pub fn build(context: Context) -> (Router, Vec<Endpoint>) {
    let api = Api {
        context,
        limiter: Arc::default(),
    };
    let routes = Routes {
        api: api.clone(),
        router: Router::new(),
        endpoints: Vec::new(),
    };
    let routes = invoice_routes(notice_routes(environment_routes(money_routes(platform_routes(routes)))));
    let routes = certificate_routes(billing_routes(routes));
    let router = routes
        .router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_path)
        .with_state(api);
    (router, routes.endpoints)
}

fn platform_routes(routes: Routes) -> Routes {
    const TOKENS: &str = "/v1/tokens";
    const PROJECTS: &str = "/v1/projects";
    const PROJECT: &str = "/v1/projects/{project}";
    const ENVIRONMENTS: &str = "/v1/projects/{project}/environments";
    routes
        .add(Method::GET, "/v1/health", Need::Open, platform::get_health)
        .add(Method::GET, "/v1/openapi.json", Need::Open, platform::get_openapi)
        .add(Method::GET, "/metrics", Need::Read, metrics::read_metrics)
        .add(Method::GET, "/v1/whoami", Need::Read, platform::get_whoami)
        .add(Method::GET, TOKENS, Need::Admin, platform::list_tokens)
        .add(Method::POST, TOKENS, Need::Admin, platform::create_token)
        .add(
            Method::DELETE,
            "/v1/tokens/{token}",
            Need::Admin,
            platform::delete_token,
        )
        .add(Method::GET, "/v1/tasks", Need::Read, tasks::list_tasks)
        .add(Method::GET, "/v1/tasks/{task}", Need::Read, tasks::get_task)
        .add(Method::GET, "/v1/tasks/{task}/log", Need::Read, tasks::get_task_log)
        .add(Method::GET, "/v1/events", Need::Read, tasks::watch_changes)
        .add(Method::GET, PROJECTS, Need::Read, projects::list_projects)
        .add(Method::POST, PROJECTS, Need::Admin, projects::create_project)
        .add(Method::GET, PROJECT, Need::Read, projects::get_project)
        .add(Method::DELETE, PROJECT, Need::Admin, projects::destroy_project)
        .add(Method::GET, ENVIRONMENTS, Need::Read, projects::list_environments)
        .add(Method::POST, ENVIRONMENTS, Need::Deploy, projects::create_environment)
}

fn money_routes(routes: Routes) -> Routes {
    const ACCOUNTS: &str = "/v1/accounts";
    const ACCOUNT: &str = "/v1/accounts/{account}";
    routes
        .add(Method::GET, "/v1/caps", Need::Read, caps::list_caps)
        .add(Method::GET, "/v1/cost", Need::Read, costs::get_cost)
        .add(Method::GET, "/v1/projects/{project}/cap", Need::Read, caps::get_cap)
        .add(
            Method::PUT,
            "/v1/projects/{project}/cap",
            Need::Admin,
            caps::set_project_cap,
        )
        .add(
            Method::GET,
            "/v1/projects/{project}/cost",
            Need::Read,
            costs::get_project_cost,
        )
        .add(Method::GET, "/v1/prices", Need::Read, prices::list_prices)
        .add(Method::POST, "/v1/prices", Need::Admin, prices::publish_prices)
        .add(Method::GET, "/v1/prices/{version}", Need::Read, prices::get_prices)
        .add(Method::GET, ACCOUNTS, Need::Read, accounts::list_accounts)
        .add(Method::POST, ACCOUNTS, Need::Admin, accounts::create_account)
        .add(Method::GET, ACCOUNT, Need::Read, accounts::get_account)
        .add(
            Method::PUT,
            "/v1/accounts/{account}/cap",
            Need::Admin,
            caps::set_account_cap,
        )
        .add(
            Method::POST,
            "/v1/accounts/{account}/deposits",
            Need::Admin,
            accounts::create_deposit,
        )
        .add(
            Method::POST,
            "/v1/accounts/{account}/promises",
            Need::Admin,
            accounts::create_promise,
        )
        .add(
            Method::PUT,
            "/v1/accounts/{account}/billing",
            Need::Admin,
            accounts::set_billing,
        )
        .add(
            Method::PUT,
            "/v1/accounts/{account}/stop-order",
            Need::Admin,
            accounts::set_stop_order,
        )
        .add(
            Method::GET,
            "/v1/accounts/{account}/transfers",
            Need::Read,
            accounts::list_transfers,
        )
        .add(Method::GET, "/v1/time-zone", Need::Read, accounts::get_time_zone)
        .add(Method::PUT, "/v1/time-zone", Need::Admin, accounts::set_time_zone)
        .add(Method::GET, "/v1/ledger/audit", Need::Admin, ledger::audit_ledger)
        .add(Method::GET, "/v1/ledger/journal", Need::Admin, ledger::read_journal)
}

fn invoice_routes(routes: Routes) -> Routes {
    const INVOICES: &str = "/v1/invoices";
    const INVOICE: &str = "/v1/invoices/{invoice}";
    const SETTINGS: &str = "/v1/invoice-settings";
    const HTML: &str = "/v1/invoices/{invoice}/html";
    const PDF: &str = "/v1/invoices/{invoice}/pdf";
    const FINALIZE: &str = "/v1/invoices/{invoice}/finalize";
    const CREDIT: &str = "/v1/invoices/{invoice}/credit";
    const ADDRESS: &str = "/v1/accounts/{account}/address";
    routes
        .add(Method::GET, INVOICES, Need::Read, invoices::list_invoices)
        .add(Method::POST, INVOICES, Need::Admin, invoices::create_invoice)
        .add(Method::GET, INVOICE, Need::Read, invoices::get_invoice)
        .add(Method::DELETE, INVOICE, Need::Admin, invoices::discard_invoice)
        .add(Method::GET, HTML, Need::Read, invoices::get_invoice_html)
        .add(Method::GET, PDF, Need::Read, invoices::get_invoice_pdf)
        .add(Method::POST, FINALIZE, Need::Admin, invoices::finalize_invoice)
        .add(Method::POST, CREDIT, Need::Admin, invoices::credit_invoice)
        .add(Method::GET, SETTINGS, Need::Read, invoices::get_invoice_settings)
        .add(Method::PUT, SETTINGS, Need::Admin, invoices::set_invoice_settings)
        .add(Method::PUT, ADDRESS, Need::Admin, invoices::set_customer)
}

fn billing_routes(routes: Routes) -> Routes {
    const TOPUPS: &str = "/v1/billing/topups";
    const OUTSIDE: &str = "/v1/billing/outside";
    const RECORDS: &str = "/v1/billing/records";
    const RECORD: &str = "/v1/billing/records/{record}";
    const RETRY: &str = "/v1/billing/records/{record}/retry";
    routes
        .add(Method::GET, "/v1/billing", Need::Read, billing::get_billing)
        .add(Method::POST, TOPUPS, Need::Open, billing::create_topup)
        .add(Method::PUT, TOPUPS, Need::Admin, billing::set_topups)
        .add(Method::DELETE, TOPUPS, Need::Admin, billing::unset_topups)
        .add(Method::PUT, OUTSIDE, Need::Admin, billing::set_outside)
        .add(Method::DELETE, OUTSIDE, Need::Admin, billing::unset_outside)
        .add(Method::GET, RECORDS, Need::Read, billing::list_records)
        .add(Method::GET, RECORD, Need::Read, billing::get_record)
        .add(Method::POST, RETRY, Need::Admin, billing::retry_record)
        .add(Method::POST, "/v1/billing/retry", Need::Admin, billing::retry_failed)
}

fn certificate_routes(routes: Routes) -> Routes {
    const CERTIFICATES: &str = "/v1/certificates";
    const CERTIFICATE: &str = "/v1/certificates/{certificate}";
    const AUTHORITY: &str = "/v1/certificate-authority";
    const DNS: &str = "/v1/certificate-dns";
    use certificates as at;
    routes
        .add(Method::GET, CERTIFICATES, Need::Read, at::list_certificates)
        .add(Method::POST, CERTIFICATES, Need::Admin, at::upload_certificate)
        .add(Method::DELETE, CERTIFICATE, Need::Admin, at::delete_certificate)
        .add(Method::GET, AUTHORITY, Need::Read, at::get_authority)
        .add(Method::PUT, AUTHORITY, Need::Admin, at::set_authority)
        .add(Method::DELETE, AUTHORITY, Need::Admin, at::unset_authority)
        .add(Method::PUT, DNS, Need::Admin, at::set_dns)
        .add(Method::DELETE, DNS, Need::Admin, at::unset_dns)
}

fn notice_routes(routes: Routes) -> Routes {
    const CONTACT: &str = "/v1/contacts/{contact}";
    routes
        .add(Method::GET, "/v1/contacts", Need::Admin, notices::list_contacts)
        .add(Method::POST, "/v1/contacts", Need::Admin, notices::create_contact)
        .add(Method::DELETE, CONTACT, Need::Admin, notices::delete_contact)
        .add(
            Method::POST,
            "/v1/contacts/{contact}/test",
            Need::Admin,
            notices::test_contact,
        )
        .add(Method::GET, "/v1/notices", Need::Admin, notices::list_notices)
}

// `concat!` wants literals; this one is the beginning of all paths in an environment.
macro_rules! within {
    ($rest:literal) => {
        concat!("/v1/projects/{project}/environments/{environment}", $rest)
    };
}

fn environment_routes(routes: Routes) -> Routes {
    use environments as at;
    let routes = routes
        .add(Method::GET, within!(""), Need::Read, projects::get_environment)
        .add(Method::PATCH, within!(""), Need::Deploy, projects::update_environment)
        .add(Method::DELETE, within!(""), Need::Deploy, projects::destroy_environment)
        .add(Method::GET, within!("/variables"), Need::Read, at::list_variables)
        .add(Method::PATCH, within!("/variables"), Need::Deploy, at::update_variables)
        .add(Method::GET, within!("/releases"), Need::Read, at::list_releases)
        .add(Method::GET, within!("/deployments"), Need::Read, at::list_deployments)
        .add(
            Method::POST,
            within!("/deployments"),
            Need::Deploy,
            at::create_deployment,
        )
        .add(Method::GET, within!("/cache"), Need::Read, cache::get_cache)
        .add(Method::POST, within!("/cache/purge"), Need::Deploy, cache::purge_cache)
        .add(Method::GET, within!("/canary"), Need::Read, canary::get_canary)
        .add(Method::PUT, within!("/canary"), Need::Deploy, canary::set_canary)
        .add(Method::DELETE, within!("/canary"), Need::Deploy, canary::abort_canary)
        .add(
            Method::POST,
            within!("/canary/promote"),
            Need::Deploy,
            canary::promote_canary,
        )
        .add(Method::POST, within!("/promote"), Need::Deploy, at::promote_environment)
        .add(Method::PUT, within!("/scale"), Need::Deploy, at::set_scale)
        .add(Method::POST, within!("/pause"), Need::Deploy, at::pause_environment)
        .add(Method::POST, within!("/resume"), Need::Deploy, at::resume_environment)
        .add_with(
            Method::POST,
            within!("/source"),
            Need::Deploy,
            BodyKind::Streamed,
            source::upload_source,
        )
        .add(Method::GET, within!("/run"), Need::Deploy, sessions::run_command)
        .add(Method::GET, within!("/exec"), Need::Deploy, sessions::exec_command);
    log_routes(domain_routes(bound_routes(routes)))
}

/// What it may cost, and what is refused.
fn bound_routes(routes: Routes) -> Routes {
    routes
        .add(Method::PUT, within!("/cap"), Need::Admin, caps::set_environment_cap)
        .add(
            Method::DELETE,
            within!("/cap"),
            Need::Admin,
            caps::unset_environment_cap,
        )
        .add(Method::GET, within!("/guard"), Need::Read, guard_rules::get_guard)
        .add(
            Method::PATCH,
            within!("/guard"),
            Need::Deploy,
            guard_rules::update_guard,
        )
        .add(
            Method::DELETE,
            within!("/guard"),
            Need::Deploy,
            guard_rules::reset_guard,
        )
        .add(
            Method::GET,
            within!("/protection"),
            Need::Read,
            protection::get_protection,
        )
        .add(
            Method::PUT,
            within!("/access/{user}"),
            Need::Deploy,
            protection::set_access,
        )
        .add(
            Method::DELETE,
            within!("/access/{user}"),
            Need::Deploy,
            protection::remove_access,
        )
        .add(
            Method::PUT,
            within!("/maintenance"),
            Need::Deploy,
            protection::set_maintenance,
        )
        .add(
            Method::DELETE,
            within!("/maintenance"),
            Need::Deploy,
            protection::unset_maintenance,
        )
}

fn domain_routes(routes: Routes) -> Routes {
    use environments as at;
    routes
        .add(Method::GET, within!("/domains"), Need::Read, at::list_domains)
        .add(Method::POST, within!("/domains"), Need::Deploy, at::add_domain)
        .add(Method::PUT, within!("/domains"), Need::Deploy, at::put_domains)
        .add(Method::GET, within!("/domains/{host}"), Need::Read, at::get_domain)
        .add(
            Method::POST,
            within!("/domains/{host}/retry"),
            Need::Deploy,
            at::retry_domain,
        )
        .add(
            Method::DELETE,
            within!("/domains/{host}"),
            Need::Deploy,
            at::remove_domain,
        )
}

fn log_routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, within!("/logs"), Need::Read, logs::read_logs)
        .add(
            Method::GET,
            within!("/access-log"),
            Need::Read,
            access_log::get_access_log,
        )
        .add(
            Method::PATCH,
            within!("/access-log"),
            Need::Deploy,
            access_log::set_access_log,
        )
        // It may lead to the machine itself.
        .add(
            Method::PUT,
            within!("/access-log/shipping"),
            Need::Admin,
            access_log::set_shipping,
        )
        .add(
            Method::DELETE,
            within!("/access-log/shipping"),
            Need::Admin,
            access_log::unset_shipping,
        )
}

async fn no_such_path(uri: Uri) -> ApiError {
    let shown: String = uri.path().chars().take(200).collect();
    ApiError::not_found("no-such-path", format!("there is nothing at {shown}"))
        .with_hint("the API is described at /v1/openapi.json")
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let shown: String = uri.path().chars().take(200).collect();
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!("{method} is not possible at {shown}"),
    )
    .with_hint("the API is described at /v1/openapi.json")
}
