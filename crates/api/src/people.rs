//! People: who is signed in, who may do what, and what was done.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A role for a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleGrant {
    /// `viewer`, `billing`, `developer`, `admin` or `owner`.
    pub role: String,
    /// `weir` (all of it), `account:NAME`, `PROJECT` or `PROJECT/ENVIRONMENT`; it holds for all that is in it.
    pub scope: String,
}

/// What the roles may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleTable {
    /// Each role.
    pub roles: Vec<RoleRights>,
}

/// What a role may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleRights {
    /// `viewer`, `billing`, `developer`, `admin` or `owner`.
    pub role: String,
    /// `see`, `deploy`, `set-caps` …
    pub permissions: Vec<String>,
    /// The operations of this description that it may ask for.
    pub may: Vec<String>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// Identity.
    pub id: String,
    /// As others see it.
    pub name: String,
    /// Mail address, in lower case.
    pub email: String,
    /// `en`, `ru`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `active` or `suspended`.
    pub state: String,
    /// Their roles, as far as the one who asks may see them.
    pub grants: Vec<RoleGrant>,
    /// Whether a second factor is on.
    pub totp: bool,
    /// When they came.
    pub created: String,
    /// When they were last seen, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The person.
    pub person: Person,
    /// All that they may: their roles, those for an account repeated for each of its projects.
    pub may: Vec<RoleGrant>,
    /// Identity of the session that asks.
    pub session: String,
    /// Whether a second factor is on.
    pub totp: bool,
    /// Whether there is a password.
    pub password: bool,
}

/// How far somebody is in signing in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionState {
    /// `setup` (nobody is there yet), `signed-out`, `second-factor` (the code is missing), `signed-in`.
    pub state: String,
    /// What belongs into the header `X-Weir-CSRF` of what changes something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
    /// Who is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub me: Option<Me>,
    /// Other ways to sign in.
    pub providers: Vec<SignInProvider>,
    /// Version of Weir.
    pub version: String,
}

/// Somebody else who says who people are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignInProvider {
    /// Identity, as in the path.
    pub id: String,
    /// For people.
    pub name: String,
}

/// `POST /v1/setup`: the first person, who owns everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The token in `DIR/admin-token`.
    pub admin_token: String,
    /// As others see it.
    pub name: String,
    /// Mail address.
    pub email: String,
    /// 12 characters at least.
    pub password: String,
}

/// `POST /v1/session`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// Mail address.
    pub email: String,
    /// Password.
    pub password: String,
}

/// A code of the second factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondFactor {
    /// Six digits, or a recovery code, which works once.
    pub code: String,
}

/// `PATCH /v1/me`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    /// As others see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `en`, `ru`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A browser in which somebody is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedIn {
    /// Identity.
    pub id: String,
    /// When it began.
    pub created: String,
    /// When it was last used, to the minute.
    pub last_used: String,
    /// When it ends, however often it is used.
    pub expires: String,
    /// From where it was last used.
    pub address: String,
    /// What the browser says that it is.
    pub agent: String,
    /// `password`, `totp`, `recovery-code`, `invitation`, `setup`.
    pub method: String,
    /// The one that asks.
    pub current: bool,
}

/// `PUT /v1/me/password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one that holds.
    pub current: String,
    /// 12 characters at least.
    pub new: String,
}

/// The session that asked goes on, under a new cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasswordChanged {
    /// How many other sessions were ended.
    pub ended: u64,
    /// For `X-Weir-CSRF` from now on.
    pub csrf: String,
}

/// A secret for an app that makes codes; not in force before a code confirms it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TotpSecret {
    /// Base32, for typing.
    pub secret: String,
    /// `otpauth://totp/…`
    pub uri: String,
    /// The same as a picture.
    pub qr: QrPicture,
}

/// A QR code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QrPicture {
    /// Width and height in modules, without the white rim that belongs around it.
    pub size: u32,
    /// The dark ones, as the path of an SVG with a view box of this size.
    pub path: String,
}

/// Codes that let one in once each, when the app is lost. Shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryCodes {
    /// The codes.
    pub codes: Vec<String>,
}

/// `PUT /v1/people/{person}/grants`, `PUT /v1/service-accounts/{account}/grants`: takes the place of all
/// roles that the one who asks looks after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetGrants {
    /// All of them.
    pub grants: Vec<RoleGrant>,
}

/// `PATCH /v1/people/{person}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatePerson {
    /// `active` or `suspended`.
    pub state: String,
}

/// A link by which somebody sets a new password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResetLink {
    /// The secret in it; it works once.
    pub secret: String,
    /// Path of the page, with the secret behind `#`, where no log has it.
    pub path: String,
    /// Until when it holds.
    pub expires: String,
}

/// `POST /v1/password-resets/use`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UseReset {
    /// From the link.
    pub secret: String,
    /// 12 characters at least.
    pub password: String,
}

/// `POST /v1/invitations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvitation {
    /// For whom; absent: for whoever has the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What they get.
    pub grants: Vec<RoleGrant>,
    /// 1 to 30; 7 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_days: Option<u32>,
}

/// A link by which somebody gets roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// Identity.
    pub id: String,
    /// For whom; absent: for whoever has the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What they get.
    pub grants: Vec<RoleGrant>,
    /// When it was made.
    pub created: String,
    /// Until when it holds.
    pub expires: String,
    /// Who made it.
    pub created_by: String,
    /// Only in the answer to the request that made it: the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Likewise: path of the page, with the secret behind `#`, where no log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// `POST /v1/invitations/look`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationSecret {
    /// From the link.
    pub secret: String,
}

/// What an invitation offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationOffer {
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What they get.
    pub grants: Vec<RoleGrant>,
    /// Until when.
    pub expires: String,
    /// From whom.
    pub created_by: String,
}

/// `POST /v1/invitations/accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    /// From the link.
    pub secret: String,
    /// Absent for who is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Absent for who is signed in, and where the invitation names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Absent for who is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// `POST /v1/service-accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceAccount {
    /// 1 to 40 of `a-z 0-9 -`.
    pub name: String,
    /// Its role, and where.
    pub grant: RoleGrant,
}

/// A program that acts by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccount {
    /// Identity.
    pub id: String,
    /// Name.
    pub name: String,
    /// Where it belongs.
    pub scope: String,
    /// Its roles.
    pub grants: Vec<RoleGrant>,
    /// When it was made.
    pub created: String,
    /// By whom.
    pub created_by: String,
    /// Its tokens, without their secrets.
    pub tokens: Vec<crate::Token>,
}

/// `POST /v1/service-accounts/{account}/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceToken {
    /// What it is for.
    pub name: String,
    /// `read`, `deploy` or `admin`: the most of the account's roles that it uses; `admin` (all) if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// 1 to 3650; never ends if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_days: Option<u32>,
}

/// Something that was done, or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Rises.
    pub sequence: i64,
    /// When.
    pub at: String,
    /// Who.
    pub who: AuditWho,
    /// As what: `developer`, `admin token`; `none` where nothing allowed it.
    pub role: String,
    /// From where.
    pub address: String,
    /// With what, as it says itself.
    pub agent: String,
    /// `POST /v1/projects/{project}/environments`.
    pub operation: String,
    /// `weir`, `account:NAME`, `PROJECT`, `PROJECT/ENVIRONMENT`.
    pub scope: String,
    /// What it was about besides: a host, an identity.
    pub target: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// Status of the answer.
    pub status: i64,
    /// As in the header `X-Request-Id` of the answer.
    pub request: String,
    /// What is worth knowing besides.
    pub detail: String,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditWho {
    /// `person`, `token`, `service-account` or `unknown`.
    pub kind: String,
    /// Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name; of somebody unknown, what they said.
    pub name: String,
}
