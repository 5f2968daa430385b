//! Roles of people and of service accounts, and links by which people get theirs.

use std::fmt;

use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};
use weir_model::policy::{Reach, Role};
use weir_model::{
    AccountId, EnvironmentId, InvitationId, MembershipId, ProjectId, ServiceAccountId, UnixMillis, UserId,
};

use crate::row::{Fields, FromRow, all, optional, storable, to_json};
use crate::user::{User, begin_change, insert_user, owners};
use crate::{Store, StoreError};

/// Whose role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// That of a person.
    User(UserId),
    /// That of a service account.
    ServiceAccount(ServiceAccountId),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => fmt::Display::fmt(id, f),
            Self::ServiceAccount(id) => fmt::Display::fmt(id, f),
        }
    }
}

/// A role of somebody, somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Identity.
    pub id: MembershipId,
    /// Whose.
    pub member: Member,
    /// Which.
    pub role: Role,
    /// Where.
    pub reach: Reach,
    /// Who gave it, by name.
    pub created_by: String,
    /// When.
    pub created_ms: UnixMillis,
}

/// The columns that say where a row reaches; the project of an environment is joined.
pub(crate) fn reach_of(row: &Fields<'_>) -> Result<Reach, StoreError> {
    let account: Option<AccountId> = row.parsed_optional("account_id")?;
    let project: Option<ProjectId> = row.parsed_optional("project_id")?;
    let environment: Option<EnvironmentId> = row.parsed_optional("environment_id")?;
    match (account, project, environment) {
        (Some(account), None, None) => Ok(Reach::Account(account)),
        (None, Some(project), None) => Ok(Reach::Project(project)),
        (None, None, Some(environment)) => {
            let project: Option<ProjectId> = row.parsed_optional("environment_project")?;
            let project = project.ok_or_else(|| StoreError::unreadable("environment_id", "it has no project"))?;
            Ok(Reach::Environment(project, environment))
        }
        (None, None, None) if row.text("place")? == Reach::Platform.key() => Ok(Reach::Platform),
        _ => Err(StoreError::unreadable("place", "it says more than one, or nothing")),
    }
}

/// What goes into the columns: account, project, environment.
pub(crate) fn columns_of(reach: Reach) -> [Option<String>; 3] {
    match reach {
        Reach::Platform => [None, None, None],
        Reach::Account(account) => [Some(account.to_string()), None, None],
        Reach::Project(project) => [None, Some(project.to_string()), None],
        Reach::Environment(_, environment) => [None, None, Some(environment.to_string())],
    }
}

impl FromRow for Membership {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let user: Option<UserId> = row.parsed_optional("user_id")?;
        let account: Option<ServiceAccountId> = row.parsed_optional("service_account_id")?;
        let member = match (user, account) {
            (Some(user), None) => Member::User(user),
            (None, Some(account)) => Member::ServiceAccount(account),
            _ => return Err(StoreError::unreadable("user_id", "a role is of one member")),
        };
        Ok(Self {
            id: row.parsed("id")?,
            member,
            role: row.parsed("role")?,
            reach: reach_of(row)?,
            created_by: row.text("created_by")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

const SELECT: &str = "SELECT m.*, e.project_id AS environment_project FROM memberships m
    LEFT JOIN environments e ON e.id = m.environment_id";

pub(crate) async fn insert_membership(
    transaction: &mut Transaction<'static, Any>,
    membership: &Membership,
) -> Result<(), StoreError> {
    let (user, account) = match membership.member {
        Member::User(id) => (Some(id.to_string()), None),
        Member::ServiceAccount(id) => (None, Some(id.to_string())),
    };
    let [account_id, project_id, environment_id] = columns_of(membership.reach);
    sqlx::query(
        "INSERT INTO memberships (id, user_id, service_account_id, role, place, account_id, project_id,
            environment_id, created_by, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(membership.id.to_string())
    .bind(user)
    .bind(account)
    .bind(membership.role.as_str())
    .bind(membership.reach.key())
    .bind(account_id)
    .bind(project_id)
    .bind(environment_id)
    .bind(storable(&membership.created_by))
    .bind(membership.created_ms)
    .execute(&mut **transaction)
    .await
    .map_err(|error| StoreError::from(error).missing(|| "whom or what the role is for".to_owned()))?;
    Ok(())
}

/// A link by which somebody gets roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Identity.
    pub id: InvitationId,
    /// SHA-256 of the secret in the link, in hex.
    pub secret_sha256: String,
    /// For whom, in lower case; `None`: for whoever has the link.
    pub email: Option<String>,
    /// What they get.
    pub roles: Vec<(Role, Reach)>,
    /// Who invited, by name.
    pub created_by: String,
    /// Their identity; `None` where it was not kept yet.
    pub created_by_id: Option<String>,
    /// When.
    pub created_ms: UnixMillis,
    /// After this instant it is refused.
    pub expires_ms: UnixMillis,
    /// When it was accepted.
    pub used_ms: Option<UnixMillis>,
}

/// A role as it is kept in JSON.
#[derive(Debug, Serialize, Deserialize)]
struct KeptRole {
    role: Role,
    reach: Reach,
}

impl FromRow for Invitation {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let roles: Vec<KeptRole> = row.json("roles")?;
        Ok(Self {
            id: row.parsed("id")?,
            secret_sha256: row.text("secret_sha256")?,
            email: row.text_optional("email")?,
            roles: roles.into_iter().map(|kept| (kept.role, kept.reach)).collect(),
            created_by: row.text("created_by")?,
            created_by_id: row.text_optional("created_by_id")?,
            created_ms: row.integer("created_ms")?,
            expires_ms: row.integer("expires_ms")?,
            used_ms: row.integer_optional("used_ms")?,
        })
    }
}

impl Store {
    /// All roles, oldest first.
    pub async fn membership_list(&self) -> Result<Vec<Membership>, StoreError> {
        let statement = format!("{SELECT} ORDER BY m.created_ms, m.id");
        all(&sqlx::query(sqlx::AssertSqlSafe(statement))
            .fetch_all(self.read())
            .await?)
    }

    /// The roles of one member.
    pub async fn membership_list_of(&self, member: Member) -> Result<Vec<Membership>, StoreError> {
        let column = match member {
            Member::User(_) => "user_id",
            Member::ServiceAccount(_) => "service_account_id",
        };
        let statement = format!("{SELECT} WHERE m.{column} = $1 ORDER BY m.created_ms, m.id");
        let query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(member.to_string());
        all(&query.fetch_all(self.read()).await?)
    }

    /// Takes roles away and gives others, together. What was made by the right of a role ends with it:
    /// open invitations of who loses one; so do links to a new password of who gets one, for they were
    /// made by those who might set the password of who she was. False, and nothing is changed, if nobody
    /// would own the Weir any more. `NotFound` if what one is for does not exist.
    pub async fn membership_change(&self, remove: &[MembershipId], add: &[Membership]) -> Result<bool, StoreError> {
        let mut transaction = begin_change(self).await?;
        let before = owners(&mut transaction).await?;
        for id in remove {
            sqlx::query(
                "DELETE FROM invitations WHERE used_ms IS NULL AND created_by_id IN
                 (SELECT COALESCE(m.user_id, m.service_account_id) FROM memberships m WHERE m.id = $1)",
            )
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
            sqlx::query("DELETE FROM memberships WHERE id = $1")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        for membership in add {
            insert_membership(&mut transaction, membership).await?;
            if let Member::User(user) = membership.member {
                sqlx::query("DELETE FROM password_resets WHERE user_id = $1")
                    .bind(user.to_string())
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        if before > 0 && owners(&mut transaction).await? == 0 {
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Writes an invitation.
    pub async fn invitation_insert(&self, invitation: &Invitation) -> Result<(), StoreError> {
        let kept: Vec<KeptRole> = invitation
            .roles
            .iter()
            .map(|(role, reach)| KeptRole {
                role: *role,
                reach: *reach,
            })
            .collect();
        sqlx::query(
            "INSERT INTO invitations (id, secret_sha256, email, roles, created_by, created_by_id, created_ms,
                expires_ms, used_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL)",
        )
        .bind(invitation.id.to_string())
        .bind(&invitation.secret_sha256)
        .bind(invitation.email.as_deref())
        .bind(to_json(&kept)?)
        .bind(storable(&invitation.created_by))
        .bind(invitation.created_by_id.as_deref())
        .bind(invitation.created_ms)
        .bind(invitation.expires_ms)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Invitations that were not accepted yet, newest first; also those that are past.
    pub async fn invitation_list(&self) -> Result<Vec<Invitation>, StoreError> {
        let statement = "SELECT * FROM invitations WHERE used_ms IS NULL ORDER BY created_ms DESC, id DESC";
        all(&sqlx::query(statement).fetch_all(self.read()).await?)
    }

    /// How many invitations of somebody, by identity, hold now.
    pub async fn invitation_count_of(&self, created_by_id: &str, now_ms: UnixMillis) -> Result<i64, StoreError> {
        let query = sqlx::query(
            "SELECT COUNT(*) AS found FROM invitations
             WHERE created_by_id = $1 AND used_ms IS NULL AND expires_ms > $2",
        );
        let row = query.bind(created_by_id).bind(now_ms).fetch_one(self.read()).await?;
        Fields(&row).integer("found")
    }

    /// Removes invitations that ended before an instant, accepted or not.
    pub async fn invitation_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM invitations WHERE expires_ms < $1")
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// The invitation of a secret that holds now.
    pub async fn invitation_by_secret_sha256(
        &self,
        secret_sha256: &str,
        now_ms: UnixMillis,
    ) -> Result<Option<Invitation>, StoreError> {
        let query =
            sqlx::query("SELECT * FROM invitations WHERE secret_sha256 = $1 AND used_ms IS NULL AND expires_ms > $2");
        optional(
            query
                .bind(secret_sha256)
                .bind(now_ms)
                .fetch_optional(self.read())
                .await?,
        )
    }

    /// Takes an invitation back. Says whether it was there.
    pub async fn invitation_delete(&self, id: InvitationId) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM invitations WHERE id = $1")
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Uses an invitation: writes the person, if they are new, and the roles that they do not have yet.
    /// False, and nothing is written, if it was used meanwhile or holds no more. `Conflict` if the mail
    /// address is taken; `NotFound` if what a role is for is gone.
    pub async fn invitation_accept(
        &self,
        id: InvitationId,
        now_ms: UnixMillis,
        new: Option<&User>,
        add: &[Membership],
    ) -> Result<bool, StoreError> {
        let mut transaction = begin_change(self).await?;
        let used =
            sqlx::query("UPDATE invitations SET used_ms = $2 WHERE id = $1 AND used_ms IS NULL AND expires_ms > $2")
                .bind(id.to_string())
                .bind(now_ms)
                .execute(&mut *transaction)
                .await?;
        if used.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(user) = new {
            insert_user(&mut transaction, user).await?;
        }
        for membership in add {
            insert_membership(&mut transaction, membership).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}
