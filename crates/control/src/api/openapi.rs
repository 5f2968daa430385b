//! The description of the API, made from the handlers and the types themselves.

use http::Method;
use utoipa::OpenApi;
use utoipa::openapi::path::{HttpMethod, Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder};

use super::{
    access_log, accounts, audit, billing, cache, canary, caps, certificates, costs, difference, environments,
    guard_rules, help, history, invoices, ledger, live, logs, loss, me, metrics, notices, overview, people, platform,
    prices, projects, proposals, protection, service_accounts, sessions, sign_in, source, tasks, uploads,
    volume_uploads, volumes,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "A cloud of one's own: everything that the CLI does, it does through this API. What takes time is answered with a task to watch. Errors are application/problem+json and say what to do next.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        platform::get_health,
        sign_in::get_session,
        sign_in::set_up,
        sign_in::create_session,
        sign_in::confirm_session,
        sign_in::end_session,
        sign_in::use_password_reset,
        me::update_me,
        me::list_sessions,
        me::revoke_session,
        me::revoke_sessions,
        me::change_password,
        me::create_totp,
        me::confirm_totp,
        me::delete_totp,
        people::list_roles,
        people::list_people,
        people::set_grants,
        people::update_person,
        people::delete_person,
        people::create_password_reset,
        people::delete_second_factor,
        people::list_sessions_of,
        people::revoke_sessions_of,
        people::revoke_session_of,
        people::list_invitations,
        people::create_invitation,
        people::delete_invitation,
        people::look_at_invitation,
        people::accept_invitation,
        service_accounts::list_service_accounts,
        service_accounts::create_service_account,
        service_accounts::delete_service_account,
        service_accounts::create_service_token,
        service_accounts::set_service_account_grants,
        audit::list_audit,
        platform::get_whoami,
        metrics::read_metrics,
        history::get_metrics,
        help::list_help,
        help::create_help,
        help::get_help,
        help::update_help,
        help::answer_help,
        help::get_help_context,
        access_log::get_access_log,
        access_log::set_access_log,
        access_log::set_shipping,
        access_log::unset_shipping,
        platform::get_openapi,
        platform::list_tokens,
        platform::create_token,
        platform::delete_token,
        projects::list_projects,
        projects::create_project,
        projects::get_project,
        projects::destroy_project,
        projects::list_environments,
        projects::create_environment,
        projects::get_environment,
        projects::update_environment,
        projects::destroy_environment,
        uploads::create_upload,
        uploads::get_upload,
        uploads::append_upload,
        uploads::delete_upload,
        uploads::deploy_upload,
        proposals::get_proposal,
        proposals::get_live_proposal,
        volumes::list_volumes,
        volumes::list_files,
        volumes::read_file,
        volumes::write_file,
        volumes::archive_files,
        volumes::create_folder,
        volumes::move_file,
        volumes::delete_files,
        volume_uploads::create_file_upload,
        volume_uploads::get_file_upload,
        volume_uploads::append_file_upload,
        volume_uploads::delete_file_upload,
        environments::list_variables,
        environments::update_variables,
        loss::get_loss,
        environments::list_releases,
        difference::get_difference,
        environments::list_deployments,
        environments::create_deployment,
        environments::promote_environment,
        environments::set_scale,
        environments::pause_environment,
        environments::resume_environment,
        environments::list_domains,
        environments::add_domain,
        environments::put_domains,
        environments::get_domain,
        environments::retry_domain,
        environments::remove_domain,
        certificates::list_certificates,
        certificates::upload_certificate,
        certificates::delete_certificate,
        certificates::get_authority,
        certificates::set_authority,
        certificates::unset_authority,
        certificates::set_dns,
        certificates::unset_dns,
        caps::list_caps,
        caps::get_cap,
        caps::set_project_cap,
        caps::set_environment_cap,
        caps::unset_environment_cap,
        caps::set_account_cap,
        costs::get_cost,
        costs::get_project_cost,
        prices::list_prices,
        prices::get_prices,
        prices::publish_prices,
        accounts::list_accounts,
        accounts::create_account,
        accounts::get_account,
        accounts::create_deposit,
        accounts::create_promise,
        accounts::set_billing,
        accounts::set_stop_order,
        accounts::list_transfers,
        accounts::get_time_zone,
        accounts::set_time_zone,
        cache::get_cache,
        cache::purge_cache,
        canary::get_canary,
        canary::set_canary,
        canary::promote_canary,
        canary::abort_canary,
        guard_rules::get_guard,
        guard_rules::update_guard,
        guard_rules::reset_guard,
        protection::get_protection,
        protection::set_access,
        protection::remove_access,
        protection::set_maintenance,
        protection::unset_maintenance,
        invoices::list_invoices,
        invoices::create_invoice,
        invoices::get_invoice,
        invoices::get_invoice_html,
        invoices::get_invoice_pdf,
        invoices::discard_invoice,
        invoices::finalize_invoice,
        invoices::credit_invoice,
        invoices::get_invoice_settings,
        invoices::set_invoice_settings,
        invoices::set_customer,
        billing::get_billing,
        billing::create_topup,
        billing::set_topups,
        billing::unset_topups,
        billing::set_outside,
        billing::unset_outside,
        billing::list_records,
        billing::get_record,
        billing::retry_record,
        billing::retry_failed,
        notices::list_contacts,
        notices::create_contact,
        notices::delete_contact,
        notices::test_contact,
        notices::list_notices,
        ledger::audit_ledger,
        ledger::read_journal,
        source::upload_source,
        logs::read_logs,
        logs::download_logs,
        sessions::run_command,
        sessions::exec_command,
        tasks::list_tasks,
        tasks::get_task,
        tasks::get_task_log,
        tasks::watch_changes,
        live::watch_live,
        overview::get_overview,
    ),
    components(schemas(
        weir_api::Problem,
        weir_api::SessionMessage,
        weir_api::Change,
        weir_api::TaskLine,
        weir_api::LogLine,
        weir_api::LogGap,
        weir_api::ReleaseState,
        weir_api::LiveState,
        weir_api::LiveRefused,
        weir_api::LiveTick,
        weir_api::LiveEnd,
        weir_api::Overview,
        weir_api::UsageRecord,
        weir_api::DocumentRecord,
        weir_api::RecordShown
    ))
)]
struct Document;

/// The document: what holds for every operation (errors, tokens, idempotency) is added here
/// once instead of at each handler.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = document.components.get_or_insert_default();
    for (name, scheme) in [("bearer", HttpAuthScheme::Bearer), ("basic", HttpAuthScheme::Basic)] {
        components.add_security_scheme(name, SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build()));
    }
    let cookie = ApiKeyValue::with_description("weir", "Of a browser; changes need the header X-Weir-CSRF, too");
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    for (path, item) in &mut document.paths.paths {
        let operations = [
            (HttpMethod::Get, &mut item.get),
            (HttpMethod::Put, &mut item.put),
            (HttpMethod::Post, &mut item.post),
            (HttpMethod::Patch, &mut item.patch),
            (HttpMethod::Delete, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                complete(path, &method, operation);
            }
        }
    }
    document
}

/// What anybody may ask for, besides the session itself.
const OPEN: &[&str] = &[
    "/v1/health",
    "/v1/openapi.json",
    "/v1/setup",
    "/v1/session/second-factor",
    "/v1/password-resets/use",
    "/v1/invitations/look",
    "/v1/invitations/accept",
];

/// The name of an operation, as the document has it.
pub(super) fn operation_of(document: &utoipa::openapi::OpenApi, method: &Method, path: &str) -> Option<String> {
    let item = document.paths.paths.get(path)?;
    let operation = match *method {
        Method::GET => &item.get,
        Method::PUT => &item.put,
        Method::POST => &item.post,
        Method::PATCH => &item.patch,
        Method::DELETE => &item.delete,
        _ => return None,
    };
    operation.as_ref()?.operation_id.clone()
}

fn complete(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let problem = ContentBuilder::new()
        .schema(Some(RefOr::<utoipa::openapi::Schema>::Ref(Ref::from_schema_name(
            "Problem",
        ))))
        .build();
    let response = ResponseBuilder::new()
        .description("What went wrong, and what to do next")
        .content("application/problem+json", problem)
        .build();
    operation
        .responses
        .responses
        .insert("default".to_owned(), response.into());
    let signed = path == "/v1/billing/topups" && matches!(method, HttpMethod::Post);
    let session = path == "/v1/session" && !matches!(method, HttpMethod::Delete);
    if !OPEN.contains(&path) && !session && !signed {
        let need = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
        operation.security = Some(vec![need("bearer"), need("basic"), need("session")]);
    }
    let parameters = operation.parameters.get_or_insert_default();
    let mut add = |name: &str, place: ParameterIn, required: Required, description: &str| {
        let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).build();
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(description));
        parameters.push(parameter.schema(Some(text)).build());
    };
    if path.contains("{project}") {
        add("project", ParameterIn::Path, Required::True, "Name of the project");
    }
    if path.contains("{environment}") {
        add(
            "environment",
            ParameterIn::Path,
            Required::True,
            "Name of the environment",
        );
    }
    if signed {
        let words = "t=SECONDS,v1=HEX: HMAC-SHA256 over SECONDS.BODY";
        add("Weir-Signature", ParameterIn::Header, Required::True, words);
    } else if !matches!(method, HttpMethod::Get) {
        let words = "1 to 200 characters; the same request under the same key is done once";
        add("Idempotency-Key", ParameterIn::Header, Required::False, words);
    }
}

/// The document as it is served and as it is kept in the repository.
pub fn text() -> Result<String, serde_json::Error> {
    document().to_pretty_json().map(|text| text + "\n")
}
