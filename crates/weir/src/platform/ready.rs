//! Whether the platform is ready, and what to say then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use weir_api::Health;

use super::options::PlatformOptions;
use crate::client::Client;
use crate::credentials::{DEFAULT_URL, default_data_folder};
use crate::failure::Result;
use crate::output::{Look, Ui};

/// What runs where.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Addresses {
    /// The API and git.
    url: String,
    /// The ingress.
    http: String,
    /// The ingress with TLS, if it was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    https: Option<String>,
    /// What the hosts of applications end with.
    domain: String,
    /// The data folder.
    data: PathBuf,
    /// The console, if it is in this program.
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<String>,
    /// The admin token.
    token_file: PathBuf,
}

impl Addresses {
    /// As the options say.
    pub(crate) fn of(options: &PlatformOptions) -> Result<Self> {
        let data = options.data()?;
        Ok(Self {
            url: options.url(),
            http: options.http.to_string(),
            https: options.https().map(|address| address.to_string()),
            domain: options.domain.clone(),
            console: weir_control::console::is_built().then(|| format!("{}/", options.url())),
            token_file: data.join("admin-token"),
            data,
        })
    }

    fn application_url(&self) -> String {
        let port = self.http.rsplit(':').next().unwrap_or_default();
        match port {
            "80" => format!("http://PROJECT.{}", self.domain),
            port => format!("http://PROJECT.{}:{port}", self.domain),
        }
    }

    /// Where to go and what to type first.
    pub(crate) fn text(&self, ui: &Ui) -> String {
        let mut text = format!("\n{}\n", ui.err(Look::Good, "Weir is ready."));
        let https = self.https.as_ref();
        let https = https.map_or_else(String::new, |address| format!(", and on {address} for TLS"));
        let rows = [
            (
                "applications",
                format!("{}   (listens on {}{https})", self.application_url(), self.http),
            ),
            (
                "console",
                match &self.console {
                    Some(url) => format!("{url}   (the first visit asks for the admin token)"),
                    None => "not in this program; ./up in Weir's source builds it in where Node.js is".to_owned(),
                },
            ),
            ("API and git", self.url.clone()),
            ("admin token", self.token_file.display().to_string()),
        ];
        for (name, value) in rows {
            text.push_str(&format!("  {name:<14}{value}\n"));
        }
        text.push_str("\nIn the folder of an application:\n");
        let found = self.url == DEFAULT_URL && default_data_folder().is_ok_and(|folder| folder == self.data);
        if !found {
            text.push_str(&format!(
                "  export WEIR_URL={} WEIR_TOKEN=\"$(cat {})\"\n",
                self.url,
                shell_path(&self.token_file)
            ));
        }
        text.push_str("  weir project create shop\n  git push weir main          # or without git: weir deploy\n");
        text
    }
}

fn shell_path(path: &Path) -> String {
    crate::terminal::shell_word(&path.to_string_lossy())
}

/// Whether the platform of this data folder is ready. Another Weir that has the address answers
/// as well, but with another name.
pub(crate) async fn is_ready(options: &PlatformOptions) -> bool {
    let Ok(client) = Client::new(options.url(), None) else {
        return false;
    };
    let asked = tokio::time::timeout(Duration::from_secs(2), client.get_once::<Health>("/v1/health")).await;
    let Ok(Ok(health)) = asked else { return false };
    let Ok(data) = options.data() else { return false };
    let ours = std::fs::read_to_string(data.join("installation")).unwrap_or_default();
    health.status == "ready" && health.installation == ours.trim()
}
