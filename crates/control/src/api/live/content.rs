//! What is to be seen of each topic.

use weir_api::{CapStanding, EnvironmentStatus, ReleaseState};
use weir_model::EnvironmentId;
use weir_model::policy::{Permission, Place, Rights};
use weir_model::project::{Environment, Project};
use weir_store::TaskSearch;

use super::hub::Topic;
use crate::api::caps::MoneyOfEnvironment;
use crate::api::error::ApiError;
use crate::api::overview::{Everything, Inventory, Releases};
use crate::api::{caps, environments, tasks};
use crate::context::Context;
use crate::status;

/// Releases and deployments of the topic `releases`.
const NEWEST: i64 = 20;
/// Tasks of the topic `tasks`.
const TASKS: i64 = 50;

/// What there is of a topic, for all who may see it.
#[derive(Debug)]
pub(super) enum Content {
    Overview(Box<Everything>),
    Environment(Box<EnvironmentStatus>, Option<Box<MoneyOfEnvironment>>),
    Caps(Vec<(Place, CapStanding)>),
    /// The same for all who may see it.
    Same(String),
}

impl Content {
    /// Looks at a topic. Fails with 404 where what it is about is gone for good.
    pub(super) async fn look(context: &Context, releases: &Releases, topic: &Topic) -> Result<Self, ApiError> {
        Ok(match topic {
            Topic::Overview => Self::Overview(Box::new(Everything::look(context, releases).await?)),
            Topic::Caps => Self::Caps(caps::all(context, &Inventory::read(context, releases).await?)),
            Topic::Tasks(within) => {
                let search = TaskSearch {
                    within: within.clone(),
                    limit: TASKS,
                    ..TaskSearch::default()
                };
                Self::Same(json(&tasks::found(context, &search).await?)?)
            }
            Topic::Environment(id) => {
                let (project, environment) = environment(context, *id).await?;
                let status = status::of_environment(context, &project, &environment).await?;
                let money = MoneyOfEnvironment::of(context, &project, &environment).await?;
                Self::Environment(Box::new(status), money.map(Box::new))
            }
            Topic::Releases(id) => {
                let (_, environment) = environment(context, *id).await?;
                let state = ReleaseState {
                    releases: environments::releases(context, &environment, NEWEST).await?,
                    deployments: environments::deployments(context, &environment, NEWEST).await?,
                };
                Self::Same(json(&state)?)
            }
            Topic::Domains(id) => {
                let (_, environment) = environment(context, *id).await?;
                Self::Same(json(&environments::domains(context, environment.id).await?)?)
            }
        })
    }

    /// As JSON, what somebody may see of it who may watch the topic.
    pub(super) fn seen_by(&self, rights: &Rights) -> Result<String, ApiError> {
        match self {
            Self::Same(text) => Ok(text.clone()),
            Self::Overview(everything) => json(&everything.seen_by(rights)),
            Self::Caps(rows) => {
                let seen = rows
                    .iter()
                    .filter(|(place, _)| rights.may(Permission::SeeMoney, *place));
                json(&seen.map(|(_, row)| row).collect::<Vec<_>>())
            }
            Self::Environment(status, money) => json(&EnvironmentStatus {
                money: money.as_ref().and_then(|money| money.seen_by(rights)),
                ..(**status).clone()
            }),
        }
    }
}

async fn environment(context: &Context, id: EnvironmentId) -> Result<(Project, Environment), ApiError> {
    let gone = || {
        ApiError::not_found("environment-not-found", "the environment is gone")
            .with_hint("list what there is with `weir env list`")
    };
    let environment = context.store.environment_by_id(id).await?.ok_or_else(gone)?;
    let project = context
        .store
        .project_by_id(environment.project)
        .await?
        .ok_or_else(gone)?;
    Ok((project, environment))
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(ApiError::internal)
}
