use crate::failure::Result;
use crate::session::Session;

/// Print what is counted and known now, in the text format of Prometheus.
///
/// The same text is at /metrics of the API, for whoever has a token that may read: requests by app,
/// route, class, status and who answered, with histograms of how long they took; instances, caps,
/// certificates and deployments. A token of one project shows only this project.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir metrics\n  weir metrics | grep weir_requests_total")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, session: &Session) -> Result<()> {
    let text = session.client()?.get_bytes("/metrics").await?;
    let text = String::from_utf8_lossy(&text);
    let ui = &session.ui;
    if ui.is_json() {
        return ui.json(&serde_json::json!({ "metrics": text }));
    }
    ui.data(text.trim_end())
}
