//! The HTTP API under `/v1`, as `weir-api` describes its shapes.
//!
//! A handler extracts, calls one function and maps the answer; what happens is in the rooms
//! beside (`projects`, `configuration`, `hosts`, `tokens`, `status`). Every route is entered
//! once, in [`build`], with the permission that it needs and what it is about: nothing is reachable
//! by forgetting, and handlers decide nothing (`guard`), except what is in a list.

mod access_log;
pub(crate) mod accounts;
mod audit;
pub mod auth;
mod billing;
mod browser;
pub(crate) mod cache;
mod canary;
pub(crate) mod caps;
mod certificates;
mod costs;
mod difference;
mod environments;
mod error;
mod extract;
mod guard;
mod guard_rules;
mod help;
mod history;
mod idempotency;
mod invoices;
mod ledger;
mod live;
mod logs;
mod loss;
mod me;
mod metrics;
mod notices;
pub mod openapi;
mod overview;
pub(crate) mod peer;
mod people;
pub(crate) mod place;
mod platform;
pub mod present;
mod prices;
mod projects;
mod proposals;
pub(crate) mod protection;
pub(crate) mod scopes;
mod service_accounts;
mod sessions;
mod sign_in;
mod source;
mod tasks;
mod uploads;
mod volume_uploads;
mod volumes;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::audit::Audit;
use crate::console;
use crate::context::Context;
use crate::people::password::Passwords;
use crate::people::throttle::Throttle;
pub(crate) use browser::{IDLE_MS, LONGEST_MS};
pub use error::ApiError;
pub use guard::BodyKind;
pub use guard::{About, Need};
use guard::{Guard, may};
pub use source::spool_folder;
use weir_model::policy::Permission as P;

// What is needed most.
const SEE: Need = may(P::See, About::Environment);
const DEPLOY: Need = may(P::Deploy, About::Environment);
const CONFIGURE: Need = may(P::Configure, About::Environment);
const DOMAINS: Need = may(P::Domains, About::Environment);
const COMMANDS: Need = may(P::RunCommands, About::Environment);
const FILES: Need = may(P::Files, About::Environment);
const SEND_OUT: Need = may(P::SendOut, About::Environment);
const CAPS: Need = may(P::SetCaps, About::Environment);
const PLATFORM: Need = may(P::Platform, About::Platform);
const MONEY: Need = may(P::SeeMoney, About::Somewhere);
const ALL_MONEY: Need = may(P::SeeMoney, About::Platform);
const TASK: Need = may(P::See, About::Task);
const SEEN: Need = may(P::See, About::Somewhere);

/// Largest body of a request, other than the upload of a source.
const BODY_BYTES: usize = 4 << 20;

/// What handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    /// The parts of control.
    pub context: Context,
    /// Counts failed log-ins.
    pub limiter: Arc<auth::Limiter>,
    /// Writes down what was done.
    pub audit: Arc<Audit>,
    /// Works out hashes of passwords.
    pub passwords: Arc<Passwords>,
    /// Slows down who guesses at them.
    pub throttle: Arc<Throttle>,
    /// What pages show live.
    pub live: live::Live,
}

/// A route, for the tests that go through all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Method.
    pub method: Method,
    /// Path with `{…}` where something is to be filled in.
    pub path: &'static str,
    /// What is needed for it.
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
                route: path,
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
        audit: Arc::default(),
        passwords: Arc::default(),
        throttle: Arc::default(),
        live: live::Live::default(),
    };
    let routes = Routes {
        api: api.clone(),
        router: Router::new(),
        endpoints: Vec::new(),
    };
    let routes = invoice_routes(notice_routes(environment_routes(money_routes(platform_routes(routes)))));
    let routes = help_routes(people_routes(sign_in_routes(certificate_routes(billing_routes(
        routes,
    )))));
    let router = routes
        .router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_path)
        .with_state(api.clone())
        .layer(from_fn_with_state(api.context, peer::settle));
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
        .add(Method::GET, "/metrics", SEEN, metrics::read_metrics)
        .add(Method::GET, "/v1/whoami", Need::SignedIn, platform::get_whoami)
        .add(
            Method::GET,
            TOKENS,
            may(P::People, About::Somewhere),
            platform::list_tokens,
        )
        .add(
            Method::POST,
            TOKENS,
            may(P::People, About::Somewhere),
            platform::create_token,
        )
        .add(
            Method::DELETE,
            "/v1/tokens/{token}",
            may(P::People, About::Token),
            platform::delete_token,
        )
        .add(Method::GET, "/v1/tasks", SEEN, tasks::list_tasks)
        .add(Method::GET, "/v1/tasks/{task}", TASK, tasks::get_task)
        .add(Method::GET, "/v1/tasks/{task}/log", TASK, tasks::get_task_log)
        .add(Method::GET, "/v1/events", SEEN, tasks::watch_changes)
        // Each topic is decided about by itself.
        .add(Method::GET, "/v1/live", Need::SignedIn, live::watch_live)
        .add(Method::GET, "/v1/overview", SEEN, overview::get_overview)
        .add(Method::GET, PROJECTS, Need::SignedIn, projects::list_projects)
        .add(
            Method::POST,
            PROJECTS,
            may(P::CreateProjects, About::Somewhere),
            projects::create_project,
        )
        .add(
            Method::GET,
            PROJECT,
            may(P::Know, About::Project),
            projects::get_project,
        )
        .add(
            Method::DELETE,
            PROJECT,
            may(P::DestroyProjects, About::Project),
            projects::destroy_project,
        )
        .add(
            Method::GET,
            ENVIRONMENTS,
            may(P::Know, About::Project),
            projects::list_environments,
        )
        .add(
            Method::POST,
            ENVIRONMENTS,
            may(P::Configure, About::Project),
            projects::create_environment,
        )
}

fn money_routes(routes: Routes) -> Routes {
    const ACCOUNTS: &str = "/v1/accounts";
    const ACCOUNT: &str = "/v1/accounts/{account}";
    routes
        .add(Method::GET, "/v1/caps", MONEY, caps::list_caps)
        .add(Method::GET, "/v1/cost", MONEY, costs::get_cost)
        .add(
            Method::GET,
            "/v1/projects/{project}/cap",
            may(P::SeeMoney, About::Project),
            caps::get_cap,
        )
        .add(
            Method::PUT,
            "/v1/projects/{project}/cap",
            may(P::SetCaps, About::Project),
            caps::set_project_cap,
        )
        .add(
            Method::GET,
            "/v1/projects/{project}/cost",
            may(P::SeeMoney, About::Project),
            costs::get_project_cost,
        )
        .add(Method::GET, "/v1/prices", Need::SignedIn, prices::list_prices)
        .add(Method::POST, "/v1/prices", PLATFORM, prices::publish_prices)
        .add(Method::GET, "/v1/prices/{version}", Need::SignedIn, prices::get_prices)
        .add(Method::GET, ACCOUNTS, MONEY, accounts::list_accounts)
        .add(Method::POST, ACCOUNTS, PLATFORM, accounts::create_account)
        .add(
            Method::GET,
            ACCOUNT,
            may(P::SeeMoney, About::Account),
            accounts::get_account,
        )
        .add(
            Method::PUT,
            "/v1/accounts/{account}/cap",
            may(P::SetCaps, About::Account),
            caps::set_account_cap,
        )
        .add(
            Method::POST,
            "/v1/accounts/{account}/deposits",
            PLATFORM,
            accounts::create_deposit,
        )
        .add(
            Method::POST,
            "/v1/accounts/{account}/promises",
            may(P::Billing, About::Account),
            accounts::create_promise,
        )
        .add(
            Method::PUT,
            "/v1/accounts/{account}/billing",
            PLATFORM,
            accounts::set_billing,
        )
        .add(
            Method::PUT,
            "/v1/accounts/{account}/stop-order",
            may(P::Billing, About::Account),
            accounts::set_stop_order,
        )
        .add(
            Method::GET,
            "/v1/accounts/{account}/transfers",
            may(P::SeeMoney, About::Account),
            accounts::list_transfers,
        )
        .add(Method::GET, "/v1/time-zone", Need::SignedIn, accounts::get_time_zone)
        .add(Method::PUT, "/v1/time-zone", PLATFORM, accounts::set_time_zone)
        .add(Method::GET, "/v1/ledger/audit", PLATFORM, ledger::audit_ledger)
        .add(Method::GET, "/v1/ledger/journal", PLATFORM, ledger::read_journal)
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
        .add(Method::GET, INVOICES, MONEY, invoices::list_invoices)
        .add(Method::POST, INVOICES, PLATFORM, invoices::create_invoice)
        .add(
            Method::GET,
            INVOICE,
            may(P::SeeMoney, About::Invoice),
            invoices::get_invoice,
        )
        .add(Method::DELETE, INVOICE, PLATFORM, invoices::discard_invoice)
        .add(
            Method::GET,
            HTML,
            may(P::SeeMoney, About::Invoice),
            invoices::get_invoice_html,
        )
        .add(
            Method::GET,
            PDF,
            may(P::SeeMoney, About::Invoice),
            invoices::get_invoice_pdf,
        )
        .add(Method::POST, FINALIZE, PLATFORM, invoices::finalize_invoice)
        .add(Method::POST, CREDIT, PLATFORM, invoices::credit_invoice)
        .add(Method::GET, SETTINGS, MONEY, invoices::get_invoice_settings)
        .add(Method::PUT, SETTINGS, PLATFORM, invoices::set_invoice_settings)
        .add(
            Method::PUT,
            ADDRESS,
            may(P::Billing, About::Account),
            invoices::set_customer,
        )
}

fn billing_routes(routes: Routes) -> Routes {
    const TOPUPS: &str = "/v1/billing/topups";
    const OUTSIDE: &str = "/v1/billing/outside";
    const RECORDS: &str = "/v1/billing/records";
    const RECORD: &str = "/v1/billing/records/{record}";
    const RETRY: &str = "/v1/billing/records/{record}/retry";
    routes
        .add(Method::GET, "/v1/billing", ALL_MONEY, billing::get_billing)
        .add(Method::POST, TOPUPS, Need::Open, billing::create_topup)
        .add(Method::PUT, TOPUPS, PLATFORM, billing::set_topups)
        .add(Method::DELETE, TOPUPS, PLATFORM, billing::unset_topups)
        .add(Method::PUT, OUTSIDE, PLATFORM, billing::set_outside)
        .add(Method::DELETE, OUTSIDE, PLATFORM, billing::unset_outside)
        .add(Method::GET, RECORDS, ALL_MONEY, billing::list_records)
        .add(Method::GET, RECORD, ALL_MONEY, billing::get_record)
        .add(Method::POST, RETRY, PLATFORM, billing::retry_record)
        .add(Method::POST, "/v1/billing/retry", PLATFORM, billing::retry_failed)
}

fn certificate_routes(routes: Routes) -> Routes {
    const CERTIFICATES: &str = "/v1/certificates";
    const CERTIFICATE: &str = "/v1/certificates/{certificate}";
    const AUTHORITY: &str = "/v1/certificate-authority";
    const DNS: &str = "/v1/certificate-dns";
    use certificates as at;
    routes
        .add(
            Method::GET,
            CERTIFICATES,
            may(P::See, About::Platform),
            at::list_certificates,
        )
        .add(Method::POST, CERTIFICATES, PLATFORM, at::upload_certificate)
        .add(Method::DELETE, CERTIFICATE, PLATFORM, at::delete_certificate)
        .add(Method::GET, AUTHORITY, may(P::See, About::Platform), at::get_authority)
        .add(Method::PUT, AUTHORITY, PLATFORM, at::set_authority)
        .add(Method::DELETE, AUTHORITY, PLATFORM, at::unset_authority)
        .add(Method::PUT, DNS, PLATFORM, at::set_dns)
        .add(Method::DELETE, DNS, PLATFORM, at::unset_dns)
}

/// Who is signed in, and what is one's own.
fn sign_in_routes(routes: Routes) -> Routes {
    const SESSION: &str = "/v1/session";
    const SECOND: &str = "/v1/session/second-factor";
    const SESSIONS: &str = "/v1/me/sessions";
    const TOTP: &str = "/v1/me/totp";
    const USE: &str = "/v1/password-resets/use";
    routes
        .add(Method::GET, SESSION, Need::Open, sign_in::get_session)
        .add(Method::POST, "/v1/setup", Need::Open, sign_in::set_up)
        .add(Method::POST, SESSION, Need::Open, sign_in::create_session)
        .add(Method::POST, SECOND, Need::Open, sign_in::confirm_session)
        .add(Method::DELETE, SESSION, Need::SignedIn, sign_in::end_session)
        .add(Method::POST, USE, Need::Open, sign_in::use_password_reset)
        .add(Method::PATCH, "/v1/me", Need::SignedIn, me::update_me)
        .add(Method::GET, SESSIONS, Need::SignedIn, me::list_sessions)
        .add(Method::DELETE, SESSIONS, Need::SignedIn, me::revoke_sessions)
        .add(
            Method::DELETE,
            "/v1/me/sessions/{session}",
            Need::SignedIn,
            me::revoke_session,
        )
        .add(Method::PUT, "/v1/me/password", Need::SignedIn, me::change_password)
        .add(Method::POST, TOTP, Need::SignedIn, me::create_totp)
        .add(Method::PUT, TOTP, Need::SignedIn, me::confirm_totp)
        .add(Method::DELETE, TOTP, Need::SignedIn, me::delete_totp)
}

/// Who may do what, and what was done.
fn people_routes(routes: Routes) -> Routes {
    const PEOPLE: &str = "/v1/people";
    const PERSON: &str = "/v1/people/{person}";
    const GRANTS: &str = "/v1/people/{person}/grants";
    const RESET: &str = "/v1/people/{person}/password-reset";
    const FACTOR: &str = "/v1/people/{person}/totp";
    const SESSIONS: &str = "/v1/people/{person}/sessions";
    const SESSION: &str = "/v1/people/{person}/sessions/{session}";
    const INVITATIONS: &str = "/v1/invitations";
    const INVITATION: &str = "/v1/invitations/{invitation}";
    const ACCOUNTS: &str = "/v1/service-accounts";
    const ACCOUNT: &str = "/v1/service-accounts/{account}";
    const TOKENS: &str = "/v1/service-accounts/{account}/tokens";
    const ROLES: &str = "/v1/service-accounts/{account}/grants";
    let somewhere = may(P::People, About::Somewhere);
    let everywhere = may(P::People, About::Platform);
    let account = may(P::People, About::ServiceAccount);
    use service_accounts as at;
    routes
        .add(Method::GET, "/v1/roles", Need::SignedIn, people::list_roles)
        .add(Method::GET, PEOPLE, somewhere, people::list_people)
        .add(Method::PUT, GRANTS, somewhere, people::set_grants)
        .add(Method::PATCH, PERSON, everywhere, people::update_person)
        .add(Method::DELETE, PERSON, everywhere, people::delete_person)
        .add(Method::POST, RESET, everywhere, people::create_password_reset)
        .add(Method::DELETE, FACTOR, everywhere, people::delete_second_factor)
        .add(Method::GET, SESSIONS, everywhere, people::list_sessions_of)
        .add(Method::DELETE, SESSIONS, everywhere, people::revoke_sessions_of)
        .add(Method::DELETE, SESSION, everywhere, people::revoke_session_of)
        .add(Method::GET, INVITATIONS, somewhere, people::list_invitations)
        .add(Method::POST, INVITATIONS, somewhere, people::create_invitation)
        .add(Method::DELETE, INVITATION, somewhere, people::delete_invitation)
        .add(
            Method::POST,
            "/v1/invitations/look",
            Need::Open,
            people::look_at_invitation,
        )
        .add(
            Method::POST,
            "/v1/invitations/accept",
            Need::Open,
            people::accept_invitation,
        )
        .add(Method::GET, ACCOUNTS, somewhere, at::list_service_accounts)
        .add(Method::POST, ACCOUNTS, somewhere, at::create_service_account)
        .add(Method::DELETE, ACCOUNT, account, at::delete_service_account)
        .add(Method::PUT, ROLES, account, at::set_service_account_grants)
        .add(Method::POST, TOKENS, account, at::create_service_token)
        .add(
            Method::GET,
            "/v1/audit",
            may(P::SeeAudit, About::Somewhere),
            audit::list_audit,
        )
}

/// What is one's own, and for those who look after people what others ask.
fn help_routes(routes: Routes) -> Routes {
    const HELP: &str = "/v1/help";
    const REQUEST: &str = "/v1/help/{request}";
    const MESSAGES: &str = "/v1/help/{request}/messages";
    routes
        .add(Method::GET, HELP, Need::SignedIn, help::list_help)
        .add(Method::POST, HELP, Need::SignedIn, help::create_help)
        .add(Method::GET, REQUEST, Need::SignedIn, help::get_help)
        .add(Method::PATCH, REQUEST, Need::SignedIn, help::update_help)
        .add(Method::POST, MESSAGES, Need::SignedIn, help::answer_help)
        .add(Method::GET, "/v1/help-context", Need::SignedIn, help::get_help_context)
}

fn notice_routes(routes: Routes) -> Routes {
    const CONTACT: &str = "/v1/contacts/{contact}";
    routes
        .add(
            Method::GET,
            "/v1/contacts",
            may(P::SendOut, About::Somewhere),
            notices::list_contacts,
        )
        .add(
            Method::POST,
            "/v1/contacts",
            may(P::SendOut, About::Somewhere),
            notices::create_contact,
        )
        .add(
            Method::DELETE,
            CONTACT,
            may(P::SendOut, About::Contact),
            notices::delete_contact,
        )
        .add(
            Method::POST,
            "/v1/contacts/{contact}/test",
            may(P::SendOut, About::Contact),
            notices::test_contact,
        )
        .add(
            Method::GET,
            "/v1/notices",
            may(P::SendOut, About::Somewhere),
            notices::list_notices,
        )
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
        .add(Method::GET, within!(""), SEE, projects::get_environment)
        .add(Method::PATCH, within!(""), CONFIGURE, projects::update_environment)
        .add(Method::DELETE, within!(""), CONFIGURE, projects::destroy_environment)
        .add(Method::GET, within!("/variables"), SEE, at::list_variables)
        .add(Method::PATCH, within!("/variables"), CONFIGURE, at::update_variables)
        .add(Method::GET, within!("/loss"), CONFIGURE, loss::get_loss)
        .add(Method::GET, within!("/releases"), SEE, at::list_releases)
        .add(
            Method::GET,
            within!("/releases/{number}/difference"),
            SEE,
            difference::get_difference,
        )
        .add(Method::GET, within!("/deployments"), SEE, at::list_deployments)
        .add(Method::POST, within!("/deployments"), DEPLOY, at::create_deployment)
        .add(Method::GET, within!("/cache"), SEE, cache::get_cache)
        .add(Method::POST, within!("/cache/purge"), DEPLOY, cache::purge_cache)
        .add(Method::GET, within!("/canary"), SEE, canary::get_canary)
        .add(Method::PUT, within!("/canary"), DEPLOY, canary::set_canary)
        .add(Method::DELETE, within!("/canary"), DEPLOY, canary::abort_canary)
        .add(Method::POST, within!("/canary/promote"), DEPLOY, canary::promote_canary)
        .add(Method::POST, within!("/promote"), DEPLOY, at::promote_environment)
        .add(Method::PUT, within!("/scale"), DEPLOY, at::set_scale)
        .add(Method::POST, within!("/pause"), DEPLOY, at::pause_environment)
        .add(Method::POST, within!("/resume"), DEPLOY, at::resume_environment)
        .add_with(
            Method::POST,
            within!("/source"),
            DEPLOY,
            BodyKind::Streamed,
            source::upload_source,
        )
        .add(Method::GET, within!("/run"), COMMANDS, sessions::run_command)
        .add(Method::GET, within!("/exec"), COMMANDS, sessions::exec_command);
    log_routes(volume_routes(upload_routes(domain_routes(bound_routes(routes)))))
}

/// Sources that are uploaded in parts.
fn upload_routes(routes: Routes) -> Routes {
    const UPLOAD: &str = within!("/uploads/{upload}");
    const PROPOSAL: &str = within!("/uploads/{upload}/proposal");
    const DEPLOYMENT: &str = within!("/uploads/{upload}/deployment");
    use uploads as at;
    routes
        .add(Method::POST, within!("/uploads"), DEPLOY, at::create_upload)
        .add(Method::GET, UPLOAD, DEPLOY, at::get_upload)
        .add_with(Method::PATCH, UPLOAD, DEPLOY, BodyKind::Streamed, at::append_upload)
        .add(Method::DELETE, UPLOAD, DEPLOY, at::delete_upload)
        .add(Method::POST, DEPLOYMENT, DEPLOY, at::deploy_upload)
        .add(Method::GET, PROPOSAL, DEPLOY, proposals::get_proposal)
        .add(Method::GET, within!("/proposal"), DEPLOY, proposals::get_live_proposal)
}

fn volume_routes(routes: Routes) -> Routes {
    const FOLDER: &str = within!("/volumes/{volume}/files");
    const CONTENT: &str = within!("/volumes/{volume}/content");
    const UPLOADS: &str = within!("/volumes/{volume}/uploads");
    const UPLOAD: &str = within!("/volumes/{volume}/uploads/{upload}");
    use {volume_uploads as parts, volumes as at};
    routes
        .add(Method::GET, within!("/volumes"), SEE, at::list_volumes)
        .add(Method::GET, FOLDER, FILES, at::list_files)
        .add(Method::DELETE, FOLDER, FILES, at::delete_files)
        .add(Method::GET, CONTENT, FILES, at::read_file)
        .add(Method::PUT, CONTENT, FILES, at::write_file)
        .add(
            Method::GET,
            within!("/volumes/{volume}/archive"),
            FILES,
            at::archive_files,
        )
        .add(
            Method::POST,
            within!("/volumes/{volume}/folders"),
            FILES,
            at::create_folder,
        )
        .add(Method::POST, within!("/volumes/{volume}/moves"), FILES, at::move_file)
        .add(Method::POST, UPLOADS, FILES, parts::create_file_upload)
        .add(Method::GET, UPLOAD, FILES, parts::get_file_upload)
        .add_with(
            Method::PATCH,
            UPLOAD,
            FILES,
            BodyKind::Streamed,
            parts::append_file_upload,
        )
        .add(Method::DELETE, UPLOAD, FILES, parts::delete_file_upload)
}

/// What it may cost, and what is refused.
fn bound_routes(routes: Routes) -> Routes {
    routes
        .add(Method::PUT, within!("/cap"), CAPS, caps::set_environment_cap)
        .add(Method::DELETE, within!("/cap"), CAPS, caps::unset_environment_cap)
        .add(Method::GET, within!("/guard"), SEE, guard_rules::get_guard)
        .add(Method::PATCH, within!("/guard"), CONFIGURE, guard_rules::update_guard)
        .add(Method::DELETE, within!("/guard"), CONFIGURE, guard_rules::reset_guard)
        .add(Method::GET, within!("/protection"), SEE, protection::get_protection)
        .add(
            Method::PUT,
            within!("/access/{user}"),
            CONFIGURE,
            protection::set_access,
        )
        .add(
            Method::DELETE,
            within!("/access/{user}"),
            CONFIGURE,
            protection::remove_access,
        )
        .add(
            Method::PUT,
            within!("/maintenance"),
            CONFIGURE,
            protection::set_maintenance,
        )
        .add(
            Method::DELETE,
            within!("/maintenance"),
            CONFIGURE,
            protection::unset_maintenance,
        )
}

fn domain_routes(routes: Routes) -> Routes {
    use environments as at;
    routes
        .add(Method::GET, within!("/domains"), SEE, at::list_domains)
        .add(Method::POST, within!("/domains"), DOMAINS, at::add_domain)
        .add(Method::PUT, within!("/domains"), DOMAINS, at::put_domains)
        .add(Method::GET, within!("/domains/{host}"), SEE, at::get_domain)
        .add(
            Method::POST,
            within!("/domains/{host}/retry"),
            DOMAINS,
            at::retry_domain,
        )
        .add(Method::DELETE, within!("/domains/{host}"), DOMAINS, at::remove_domain)
}

fn log_routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, within!("/logs"), SEE, logs::read_logs)
        .add(Method::GET, within!("/logs/text"), SEE, logs::download_logs)
        .add(Method::GET, within!("/metrics"), SEE, history::get_metrics)
        .add(Method::GET, within!("/access-log"), SEE, access_log::get_access_log)
        .add(
            Method::PATCH,
            within!("/access-log"),
            CONFIGURE,
            access_log::set_access_log,
        )
        // It may lead to the machine itself.
        .add(
            Method::PUT,
            within!("/access-log/shipping"),
            SEND_OUT,
            access_log::set_shipping,
        )
        .add(
            Method::DELETE,
            within!("/access-log/shipping"),
            SEND_OUT,
            access_log::unset_shipping,
        )
}

/// What is no route may be a page of the console.
async fn no_such_path(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if let Some(response) = console::answer(&method, uri.path(), &headers) {
        return response;
    }
    let shown: String = uri.path().chars().take(200).collect();
    ApiError::not_found("no-such-path", format!("there is nothing at {shown}"))
        .with_hint("the API is described at /v1/openapi.json")
        .into_response()
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
