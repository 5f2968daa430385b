//! Projects, environments and what belongs to them, as they are kept.

use serde::{Deserialize, Serialize};

use crate::certificate::HttpsPolicy;
use crate::{
    AccountId, AppName, DeploymentId, DomainId, EnvironmentId, EnvironmentName, ProcessName, ProjectId, ProjectName,
    ServiceAccountId, TcpServiceName, TokenId, UnixMillis, VariableName,
};

/// One product: sources and environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Identity.
    pub id: ProjectId,
    /// Who pays for it.
    pub account: AccountId,
    /// Unique on this Weir.
    pub name: ProjectName,
    /// When it was created.
    pub created_ms: UnixMillis,
    /// Set once it is being destroyed; nothing else is possible with it from then on.
    pub destroying: bool,
}

/// A running copy of a project on its own private network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Identity.
    pub id: EnvironmentId,
    /// The project that it belongs to.
    pub project: ProjectId,
    /// Unique in the project.
    pub name: EnvironmentName,
    /// The branch whose pushes deploy here; `None` where only promotion does.
    pub branch: Option<String>,
    /// What the owner asked for.
    pub mode: EnvironmentMode,
    /// The deployment that serves, if any ever went live.
    pub live: Option<DeploymentId>,
    /// The deployment that was live before, kept frozen for a quick rollback.
    pub previous: Option<DeploymentId>,
    /// Until when the previous deployment's instances stay frozen.
    pub previous_until_ms: UnixMillis,
    /// Counts every change of variables; a release remembers the version it was made from.
    pub configuration_version: i64,
    /// When it was created.
    pub created_ms: UnixMillis,
}

/// What the owner asked of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentMode {
    /// Runs and serves.
    Active,
    /// Nothing runs; volumes, images and variables stay.
    Paused,
    /// Everything of it is being removed.
    Destroying,
}

impl Environment {
    /// An active one, in which nothing was ever deployed.
    pub fn new(id: EnvironmentId, project: ProjectId, name: EnvironmentName, created_ms: UnixMillis) -> Self {
        Self {
            id,
            project,
            name,
            branch: None,
            mode: EnvironmentMode::Active,
            live: None,
            previous: None,
            previous_until_ms: 0,
            configuration_version: 0,
            created_ms,
        }
    }
}

impl EnvironmentMode {
    /// The word in SQL and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Destroying => "destroying",
        }
    }
}

impl std::str::FromStr for EnvironmentMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Active, Self::Paused, Self::Destroying]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| format!("unknown environment mode `{text}`"))
    }
}

/// A variable or secret of an environment. The value of a secret is kept encrypted; this type
/// carries it sealed, as text that is safe to store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// The name as the app sees it.
    pub name: VariableName,
    /// Plain text of a variable, or the sealed text of a secret.
    pub value: String,
    /// Whether the value is sealed and never shown again.
    pub secret: bool,
    /// Whether builds see it too.
    pub build: bool,
    /// When it was last set.
    pub updated_ms: UnixMillis,
}

/// A number of instances that overrides the one in the app's specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// The app.
    pub app: AppName,
    /// The process of the app.
    pub process: ProcessName,
    /// 0 to 100; the least where `most` is set.
    pub instances: u32,
    /// The most, where the number follows what is asked of the process.
    #[serde(default)]
    pub most: Option<u32>,
}

/// A host name that someone owns, bound to an app of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Identity.
    pub id: DomainId,
    /// The environment that answers.
    pub environment: EnvironmentId,
    /// The app that answers; `None` is the environment's main app.
    pub app: Option<AppName>,
    /// Lower case, without port; unique on this Weir.
    pub host: String,
    /// Names that Weir gave itself (`shop.localhost`) cannot be removed.
    pub platform: bool,
    /// Another host that everybody is sent to: `www.example.org` for `example.org`.
    pub redirect_to: Option<String>,
    /// The TCP service that it leads to, by TLS at the https port; none: it answers HTTP.
    #[serde(default)]
    pub tcp: Option<TcpServiceName>,
    /// What happens to requests without TLS, and what those with it are told.
    pub https: HttpsPolicy,
    /// When it was added.
    pub created_ms: UnixMillis,
}

/// An access token of the API. Only a hash of its secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Identity.
    pub id: TokenId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the secret, in hex.
    pub secret_sha256: String,
    /// What it may do.
    pub scope: Scope,
    /// The only project that it may touch; `None` is all.
    pub project: Option<ProjectId>,
    /// When it was created.
    pub created_ms: UnixMillis,
    /// After this instant it is refused; `None` never.
    pub expires_ms: Option<UnixMillis>,
    /// The service account whose token it is: its roles count, up to the scope. `None`: it acts for itself.
    #[serde(default)]
    pub service_account: Option<ServiceAccountId>,
    /// When it was last used, to the minute.
    #[serde(default)]
    pub used_ms: Option<UnixMillis>,
}

/// What a token may do; each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at everything but secrets.
    Read,
    /// Push, deploy, configure, scale, run commands.
    Deploy,
    /// Everything, tokens and projects included.
    Admin,
}

impl Scope {
    /// The word in SQL and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Read, Self::Deploy, Self::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("unknown scope `{text}`: read, deploy or admin"))
    }
}
