//! What exists has to exist in the ledger as well: accounts, projects, environments, prices.

use weir_ledger::book::{Cap, Command, Refusal, Scope};
use weir_ledger::{Nano, Period, PriceBook};
use weir_model::project::{Environment, Project};
use weir_model::{AccountId, EnvironmentId};

use super::{Money, MoneyError};

/// What an account may cost to begin with.
const ACCOUNT_CAP: Cap = Cap {
    limit: Nano(100_000_000_000),
    period: Period::Month,
    pace: false,
};
/// What a new project may cost to begin with.
const PROJECT_CAP: Cap = Cap {
    limit: Nano(7_000_000_000),
    period: Period::Month,
    pace: true,
};

impl Money {
    /// At the start: publishes the first prices and opens what the ledger does not know yet.
    pub(super) async fn begin(&self) -> Result<(), MoneyError> {
        if self.books().is_empty() {
            let book = PriceBook::built_in();
            self.command(Command::Publish { book }).await?;
        }
        for account in self.shared.store.account_list().await? {
            self.open_account(account.id).await?;
        }
        for project in self.shared.store.project_list().await? {
            self.open_project(&project).await?;
        }
        for environment in self.shared.store.environment_list_all().await? {
            self.open_environment(&environment).await?;
        }
        Ok(())
    }

    /// Gives an account its cap of the beginning. Fine if the ledger knows it.
    pub async fn open_account(&self, account: AccountId) -> Result<(), MoneyError> {
        self.open_scope(Scope::Account(account), None, Some(ACCOUNT_CAP)).await
    }

    /// Gives a project its cap of the beginning. Fine if the ledger knows it.
    pub async fn open_project(&self, project: &Project) -> Result<(), MoneyError> {
        let (scope, parent) = (Scope::Project(project.id), Scope::Account(project.account));
        self.open_scope(scope, Some(parent), Some(PROJECT_CAP)).await
    }

    /// Lets an environment spend what its project may. Fine if the ledger knows it.
    pub async fn open_environment(&self, environment: &Environment) -> Result<(), MoneyError> {
        let (scope, parent) = (Scope::Environment(environment.id), Scope::Project(environment.project));
        self.open_scope(scope, Some(parent), None).await
    }

    async fn open_scope(&self, scope: Scope, parent: Option<Scope>, cap: Option<Cap>) -> Result<(), MoneyError> {
        if self.standing(scope).is_none() {
            self.command(Command::Open { scope, parent, cap }).await?;
        }
        Ok(())
    }

    /// Nothing is stored of an environment and nothing runs in it any more: frees its tail and
    /// grants it nothing more. Fine if that was done.
    pub async fn close_environment(&self, environment: EnvironmentId) -> Result<(), MoneyError> {
        let total = Nano::ZERO;
        for command in [
            Command::Reserve { environment, total },
            Command::Close {
                scope: Scope::Environment(environment),
            },
        ] {
            self.command_on_known(command).await?;
        }
        self.set_unreserved(environment, None);
        self.use_tail(environment, None).await;
        Ok(())
    }

    /// All environments of a project are closed: grants it nothing more. Fine if that was done.
    pub async fn close_project(&self, project: &Project) -> Result<(), MoneyError> {
        let scope = Scope::Project(project.id);
        self.command_on_known(Command::Close { scope }).await
    }

    /// Fine if what it is about is not known.
    async fn command_on_known(&self, command: Command) -> Result<(), MoneyError> {
        match self.command(command).await {
            Ok(_) | Err(MoneyError::Refused(Refusal::Unknown(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
