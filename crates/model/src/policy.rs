//! Who may do what, where: the one table of rights. Everything that is asked of the API goes by
//! [`Rights::decide`]; nothing else in the house knows what a role is good for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::project::Scope;
use crate::{AccountId, EnvironmentId, ProjectId};

/// Something that people do. Few, and named by what is done, not by how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Know names: of projects and of their environments.
    Know,
    /// Look at what runs: status, releases, tasks, logs, names of secrets. Never their values.
    See,
    /// Look at caps, costs, accounts, and invoices.
    SeeMoney,
    /// Read what was done, and by whom.
    SeeAudit,
    /// Push, deploy, roll back, scale, pause.
    Deploy,
    /// Variables and secrets, environments, limits, passwords and maintenance before an app.
    Configure,
    /// Host names, with their certificates and redirects.
    Domains,
    /// Commands and terminals in instances.
    RunCommands,
    /// The content of volumes.
    Files,
    /// What may be spent at most.
    SetCaps,
    /// Have notices and logs sent to somewhere else.
    SendOut,
    /// Promises, the address on invoices, the order in which projects stop.
    Billing,
    /// Make projects.
    CreateProjects,
    /// Destroy a project with all that it has.
    DestroyProjects,
    /// Roles of people, invitations, service accounts, tokens.
    People,
    /// What concerns the whole Weir: prices, payments, certificate authorities, time zone.
    Platform,
}

impl Permission {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 16] = [
        Self::Know,
        Self::See,
        Self::SeeMoney,
        Self::SeeAudit,
        Self::Deploy,
        Self::Configure,
        Self::Domains,
        Self::RunCommands,
        Self::Files,
        Self::SetCaps,
        Self::SendOut,
        Self::Billing,
        Self::CreateProjects,
        Self::DestroyProjects,
        Self::People,
        Self::Platform,
    ];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Know => "know",
            Self::See => "see",
            Self::SeeMoney => "see-money",
            Self::SeeAudit => "see-audit",
            Self::Deploy => "deploy",
            Self::Configure => "configure",
            Self::Domains => "domains",
            Self::RunCommands => "run-commands",
            Self::Files => "files",
            Self::SetCaps => "set-caps",
            Self::SendOut => "send-out",
            Self::Billing => "billing",
            Self::CreateProjects => "create-projects",
            Self::DestroyProjects => "destroy-projects",
            Self::People => "people",
            Self::Platform => "platform",
        }
    }
}

/// What somebody is, somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything but money.
    Viewer,
    /// Looks at money, and sees to its being there.
    Billing,
    /// Brings apps to life and looks after them.
    Developer,
    /// Everything but owners and the end of projects.
    Admin,
    /// Everything.
    Owner,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Billing, Self::Developer, Self::Admin, Self::Owner];

    /// The word in SQL and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Billing => "billing",
            Self::Developer => "developer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The table.
    pub fn allows(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::Owner => true,
            Self::Admin => permission != P::DestroyProjects,
            Self::Developer => matches!(
                permission,
                P::Know | P::See | P::SeeMoney | P::Deploy | P::Configure | P::Domains | P::RunCommands | P::Files
            ),
            Self::Billing => matches!(permission, P::Know | P::SeeMoney | P::Billing),
            Self::Viewer => matches!(permission, P::Know | P::See),
        }
    }

    /// Whether whoever has this role may give the other, in the same place: nobody gives more than
    /// he has.
    pub fn may_give(self, other: Self) -> bool {
        self.allows(Permission::People) && other <= self
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("unknown role `{text}`: viewer, billing, developer, admin or owner"))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a role reaches: all that is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// The whole Weir.
    Platform,
    /// An account, with its projects.
    Account(AccountId),
    /// A project, with its environments.
    Project(ProjectId),
    /// One environment of a project.
    Environment(ProjectId, EnvironmentId),
}

/// Where something is, with all that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere in particular: it concerns the whole Weir.
    Platform,
    /// An account.
    Account(AccountId),
    /// A project, of an account.
    Project(AccountId, ProjectId),
    /// An environment, of a project, of an account.
    Environment(AccountId, ProjectId, EnvironmentId),
}

impl Place {
    /// The account that it is in.
    pub fn account(self) -> Option<AccountId> {
        match self {
            Self::Platform => None,
            Self::Account(account) | Self::Project(account, _) | Self::Environment(account, _, _) => Some(account),
        }
    }

    /// The project that it is in.
    pub fn project(self) -> Option<ProjectId> {
        match self {
            Self::Platform | Self::Account(_) => None,
            Self::Project(_, project) | Self::Environment(_, project, _) => Some(project),
        }
    }

    /// The environment that it is.
    pub fn environment(self) -> Option<EnvironmentId> {
        match self {
            Self::Environment(_, _, environment) => Some(environment),
            _ => None,
        }
    }

    /// The reach of a role that is given for exactly this.
    pub fn reach(self) -> Reach {
        match self {
            Self::Platform => Reach::Platform,
            Self::Account(account) => Reach::Account(account),
            Self::Project(_, project) => Reach::Project(project),
            Self::Environment(_, project, environment) => Reach::Environment(project, environment),
        }
    }
}

impl Reach {
    /// Whether a place is in it.
    pub fn covers(self, place: Place) -> bool {
        match self {
            Self::Platform => true,
            Self::Account(account) => place.account() == Some(account),
            Self::Project(project) => place.project() == Some(project),
            Self::Environment(_, environment) => place.environment() == Some(environment),
        }
    }

    /// The name in SQL: `platform`, or the identity of what it reaches over.
    pub fn key(self) -> String {
        match self {
            Self::Platform => "platform".to_owned(),
            Self::Account(account) => account.to_string(),
            Self::Project(project) => project.to_string(),
            Self::Environment(_, environment) => environment.to_string(),
        }
    }
}

/// What lets somebody do something: a role, or the scope of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// A role that was given.
    Role(Role),
    /// What a token may that belongs to nobody. It is what tokens always could.
    Token(Scope),
    /// A role of a service account, as far as the scope of its token goes.
    Within(Role, Scope),
}

impl Power {
    /// Whether it is enough for something, in its reach.
    pub fn allows(self, permission: Permission) -> bool {
        match self {
            Self::Role(role) => role.allows(permission),
            Self::Token(Scope::Read) => Role::Viewer.allows(permission) || permission == Permission::SeeMoney,
            Self::Token(Scope::Deploy) => Role::Developer.allows(permission),
            Self::Token(Scope::Admin) => true,
            Self::Within(role, scope) => role.allows(permission) && Self::Token(scope).allows(permission),
        }
    }

    /// Whether whoever has it may give a role.
    pub fn may_give(self, role: Role) -> bool {
        match self {
            Self::Role(own) => own.may_give(role),
            Self::Token(scope) => scope == Scope::Admin && role != Role::Owner,
            Self::Within(own, scope) => own.may_give(role) && Self::Token(scope).may_give(role),
        }
    }

    /// The word for people: the role, or `deploy token`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Role(role) | Self::Within(role, _) => role.as_str(),
            Self::Token(Scope::Read) => "read token",
            Self::Token(Scope::Deploy) => "deploy token",
            Self::Token(Scope::Admin) => "admin token",
        }
    }
}

/// A power and how far it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// What for.
    pub power: Power,
    /// Where.
    pub reach: Reach,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is allowed.
    Allowed,
    /// It is not, though it is known that the place exists.
    Forbidden,
    /// It is not, and for this one the place does not exist.
    Unseen,
}

/// All that somebody may.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights(Vec<Grant>);

impl Rights {
    /// The sum of these grants.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// The grants.
    pub fn grants(&self) -> &[Grant] {
        &self.0
    }

    /// Whether something may be done in a place.
    pub fn may(&self, permission: Permission, place: Place) -> bool {
        self.0
            .iter()
            .any(|grant| grant.reach.covers(place) && grant.power.allows(permission))
    }

    /// Whether something may be done somewhere at all.
    pub fn may_somewhere(&self, permission: Permission) -> bool {
        self.0.iter().any(|grant| grant.power.allows(permission))
    }

    /// Whether the place exists for them. Who has an environment knows its project by name.
    pub fn knows(&self, place: Place) -> bool {
        let within = |grant: &Grant| matches!((grant.reach, place), (Reach::Environment(of, _), Place::Project(_, project)) if of == project);
        place == Place::Platform || self.0.iter().any(|grant| grant.reach.covers(place) || within(grant))
    }

    /// The one decision.
    pub fn decide(&self, permission: Permission, place: Place) -> Verdict {
        if self.may(permission, place) {
            return Verdict::Allowed;
        }
        match self.knows(place) {
            // Who has one environment of a project knows the project's name, and nothing else of it.
            true if permission == Permission::Know && place != Place::Platform => Verdict::Allowed,
            true => Verdict::Forbidden,
            false => Verdict::Unseen,
        }
    }

    /// Whether a role may be given, or taken away, in a place.
    pub fn may_give(&self, role: Role, place: Place) -> bool {
        self.0
            .iter()
            .any(|grant| grant.reach.covers(place) && grant.power.may_give(role))
    }

    /// What is had in a place, for people: `developer`, or `none`.
    pub fn words_in(&self, place: Place) -> String {
        let mut words: Vec<&str> = self
            .0
            .iter()
            .filter(|grant| grant.reach.covers(place))
            .map(|grant| grant.power.words())
            .collect();
        words.dedup();
        if words.is_empty() {
            return "none".to_owned();
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (AccountId, ProjectId, EnvironmentId, EnvironmentId) {
        (
            AccountId::from_parts(1, 1),
            ProjectId::from_parts(1, 2),
            EnvironmentId::from_parts(1, 3),
            EnvironmentId::from_parts(1, 4),
        )
    }

    fn rights(role: Role, reach: Reach) -> Rights {
        Rights::new(vec![Grant {
            power: Power::Role(role),
            reach,
        }])
    }

    #[test]
    fn a_role_covers_what_is_in_its_place_and_nothing_beside() {
        let (account, project, staging, production) = ids();
        let other = ProjectId::from_parts(2, 2);
        let at = Place::Environment(account, project, staging);
        for reach in [
            Reach::Platform,
            Reach::Account(account),
            Reach::Project(project),
            Reach::Environment(project, staging),
        ] {
            let rights = rights(Role::Developer, reach);
            assert_eq!(rights.decide(Permission::Deploy, at), Verdict::Allowed, "{reach:?}");
            assert_eq!(rights.decide(Permission::SetCaps, at), Verdict::Forbidden, "{reach:?}");
        }
        let own = rights(Role::Owner, Reach::Environment(project, staging));
        let sibling = Place::Environment(account, project, production);
        assert_eq!(own.decide(Permission::See, sibling), Verdict::Unseen);
        let (inside, outside) = (Place::Project(account, project), Place::Project(account, other));
        assert_eq!(own.decide(Permission::Know, inside), Verdict::Allowed);
        assert_eq!(own.decide(Permission::See, inside), Verdict::Forbidden);
        assert_eq!(own.decide(Permission::Know, outside), Verdict::Unseen);
        assert_eq!(
            own.decide(Permission::SeeMoney, Place::Account(account)),
            Verdict::Unseen
        );
        assert_eq!(own.decide(Permission::Platform, Place::Platform), Verdict::Forbidden);
        assert_eq!(Rights::default().decide(Permission::Know, inside), Verdict::Unseen);
    }

    #[test]
    fn nobody_gives_more_than_he_has() {
        let (account, project, _, _) = ids();
        let at = Place::Project(account, project);
        let may = |own, other| rights(own, Reach::Project(project)).may_give(other, at);
        assert!(may(Role::Owner, Role::Owner) && may(Role::Admin, Role::Admin) && may(Role::Admin, Role::Billing));
        assert!(!may(Role::Admin, Role::Owner) && !may(Role::Developer, Role::Viewer));
        assert!(!rights(Role::Owner, Reach::Project(project)).may_give(Role::Viewer, Place::Account(account)));
        let token = |scope| Power::Token(scope);
        assert!(token(Scope::Admin).may_give(Role::Admin) && !token(Scope::Admin).may_give(Role::Owner));
        assert!(!token(Scope::Deploy).may_give(Role::Viewer));
    }

    #[test]
    fn whoever_may_give_a_role_has_all_that_it_allows() {
        for own in Role::ALL {
            for other in Role::ALL.into_iter().filter(|other| own.may_give(*other)) {
                for permission in Permission::ALL {
                    assert!(
                        own.allows(permission) || !other.allows(permission),
                        "{own} {other} {permission:?}"
                    );
                }
            }
        }
    }
}
