use weir_api::{CreateProject, Project};

use super::{destroy, env, link};
use crate::amounts::account_name;
use crate::context::{self, ProjectChoice, project_name};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui};
use crate::session::Session;

/// Projects: sources with their environments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir project create shop\n  weir project list\n  weir project show\n  weir project connect shop   # this folder's pushes go there\n  weir project destroy shop"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a project; in a git repository, also the remote `weir`.
    #[command(
        after_help = "Examples:\n  weir project create shop && git push weir main\n  weir project create shop --branch release\n  weir project create shop --account customer-7"
    )]
    Create {
        /// 1 to 30 of a-z, 0-9 and -; it becomes a part of the address. Otherwise the name of this folder.
        name: Option<String>,
        /// The branch that production follows; otherwise `main`, or the branch that is checked out
        /// where the repository has no `main`.
        #[arg(long, value_name = "BRANCH")]
        branch: Option<String>,
        /// The account that pays for it, for good: moving a project to another account is not
        /// supported. Otherwise `default`.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Leave the git repository of this folder alone.
        #[arg(long)]
        no_remote: bool,
    },
    /// List projects.
    List,
    /// Show a project and its environments.
    Show {
        /// The project; otherwise that of this folder.
        name: Option<String>,
    },
    Connect(link::Args),
    /// Remove a project with everything it has.
    Destroy {
        /// The project.
        name: String,
        #[command(flatten)]
        confirmation: destroy::Confirmation,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    match args.verb {
        Verb::Create {
            name,
            branch,
            account,
            no_remote,
        } => create(session, name, branch, account, no_remote).await,
        Verb::List => list(session).await,
        Verb::Show { name } => show(session, name).await,
        Verb::Connect(args) => link::run(args, session).await,
        Verb::Destroy { name, confirmation } => {
            destroy::whole_project(session, &project_name(&name)?, confirmation).await
        }
    }
}

async fn create(
    session: &Session,
    name: Option<String>,
    branch: Option<String>,
    account: Option<String>,
    no_remote: bool,
) -> Result<()> {
    let account = account.as_deref().map(account_name).transpose()?;
    let name = match name {
        Some(name) => project_name(&name)?,
        None => folder_name()?,
    };
    let client = session.client()?;
    let in_repository = !no_remote && link::in_repository();
    if in_repository {
        link::ensure_remote_is_free(client.base(), name.as_str())?;
    }
    let branch = branch.or_else(|| in_repository.then(link::main_branch).flatten());
    let project: Project = client
        .post(
            "/v1/projects",
            &CreateProject {
                name: name.to_string(),
                branch,
                account,
            },
        )
        .await?;
    if in_repository {
        link::connect_repository(client.base(), &project.git_url)?;
    }
    let ui = &session.ui;
    ui.result(&project, || {
        next_steps(ui, &project, in_repository);
        ui.data(&project.url)
    })
}

fn next_steps(ui: &Ui, project: &Project, in_repository: bool) {
    let production = project
        .environments
        .iter()
        .find(|environment| environment.name == "production");
    let branch = production
        .and_then(|environment| environment.branch.as_deref())
        .unwrap_or("main");
    let name = ui.err(Look::Bold, &project.name);
    if in_repository {
        ui.note(&format!(
            "{name} is there, and the git remote `weir` leads to it. Deploy it: git push weir {branch}"
        ));
    } else {
        ui.note(&format!(
            "{name} is there. Deploy a folder: weir deploy --project {}\nor, in a git repository: weir link {0} && git push weir {branch}",
            project.name
        ));
    }
}

fn folder_name() -> Result<weir_model::ProjectName> {
    let folder = std::env::current_dir()?;
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    project_name(name.trim_matches('-')).map_err(|error| {
        Failure::usage("what is the project to be called?")
            .detail(error.message)
            .hint("weir project create NAME")
    })
}

async fn list(session: &Session) -> Result<()> {
    let projects: Vec<Project> = session.client()?.get("/v1/projects").await?;
    session.ui.result(&projects, || {
        let rows: Vec<Vec<Cell>> = projects
            .iter()
            .map(|project| {
                let environments: Vec<&str> = project
                    .environments
                    .iter()
                    .map(|environment| environment.name.as_str())
                    .collect();
                let state = if project.destroying {
                    Cell::state("destroying")
                } else {
                    environments.join(", ").into()
                };
                vec![
                    Cell::looking(Look::Bold, project.name.as_str()),
                    Cell::looking(Look::Link, project.url.as_str()),
                    state,
                ]
            })
            .collect();
        session.ui.table(
            &["PROJECT", "ADDRESS", "ENVIRONMENTS"],
            &rows,
            "there are no projects yet: weir project create NAME",
        )
    })
}

async fn show(session: &Session, name: Option<String>) -> Result<()> {
    let name = match name {
        Some(name) => context::project_name(&name)?,
        None => ProjectChoice::default().resolve()?,
    };
    let project: Project = session.client()?.get(&format!("/v1/projects/{name}")).await?;
    let ui = &session.ui;
    ui.result(&project, || {
        ui.data(&format!(
            "{}  {}",
            ui.out(Look::Bold, &project.name),
            ui.out(Look::Link, &project.url)
        ))?;
        ui.data(&format!("push to {}\n", project.git_url))?;
        let rows: Vec<Vec<Cell>> = project.environments.iter().map(env::row).collect();
        ui.table(
            &["ENVIRONMENT", "MODE", "BRANCH", "RELEASE", "ADDRESS"],
            &rows,
            "there are no environments",
        )
    })
}
