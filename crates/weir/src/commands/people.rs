use weir_api::{CreateInvitation, Invitation, Person, ResetLink, RoleGrant, SetGrants, UpdatePerson};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::output::{Cell, ago};
use crate::session::Session;

/// Who may do what: people, their roles, and links by which they get one.
///
/// A role holds for a scope and all that is in it: `weir` is everything, `account:NAME` an account
/// with its projects, `PROJECT` a project, `PROJECT/ENVIRONMENT` one environment. A viewer looks, but
/// at no money; billing looks at money; a developer also deploys and configures; an admin also sets
/// caps and looks after people; an owner may everything.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "person",
    after_help = "Examples:\n  weir people invite anna@example.org --role developer --scope shop\n  weir people list\n  weir people role anna@example.org admin --scope shop\n  weir people role anna@example.org none --scope shop\n  weir people reset anna@example.org\n  weir people suspend anna@example.org"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show people and their roles.
    List,
    /// Make a link by which somebody gets a role. It is shown once, on standard output.
    Invite {
        /// For whom; without it for whoever has the link.
        email: Option<String>,
        /// Which role.
        #[arg(long, default_value = "developer", value_parser = ["viewer", "billing", "developer", "admin", "owner"])]
        role: String,
        /// Where: weir, account:NAME, PROJECT or PROJECT/ENVIRONMENT.
        #[arg(long, value_name = "SCOPE")]
        scope: String,
        /// Days until it is refused.
        #[arg(long, value_name = "DAYS", default_value_t = 7)]
        days: u32,
    },
    /// Show invitations that are open.
    Invitations,
    /// Take an invitation back.
    Uninvite {
        /// Its identity.
        invitation: String,
    },
    /// Give somebody a role, or take theirs away (`none`).
    Role {
        /// Mail address.
        email: String,
        /// Which role.
        #[arg(value_parser = ["viewer", "billing", "developer", "admin", "owner", "none"])]
        role: String,
        /// Where: weir, account:NAME, PROJECT or PROJECT/ENVIRONMENT.
        #[arg(long, value_name = "SCOPE")]
        scope: String,
    },
    /// Keep somebody out, until `restore`. All their sessions end.
    Suspend {
        /// Mail address.
        email: String,
    },
    /// Let somebody in again.
    Restore {
        /// Mail address.
        email: String,
    },
    /// Make a link by which somebody sets a new password. It is shown once, on standard output.
    Reset {
        /// Mail address.
        email: String,
        /// Take the second factor away, too, for who has lost it.
        #[arg(long)]
        second_factor: bool,
    },
    /// Remove somebody with all roles.
    Remove {
        /// Mail address.
        email: String,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    match args.verb {
        Verb::List => list(&client, session).await,
        Verb::Invite {
            email,
            role,
            scope,
            days,
        } => {
            let request = CreateInvitation {
                email,
                grants: vec![RoleGrant { role, scope }],
                expires_days: Some(days),
            };
            invite(&client, session, &request).await
        }
        Verb::Invitations => invitations(&client, session).await,
        Verb::Uninvite { invitation } => {
            let path = format!("/v1/invitations/{}", segment(&invitation));
            client.delete_quietly(&path).await?;
            done(session, &format!("{invitation} is refused from now on"))
        }
        Verb::Role { email, role, scope } => set_role(&client, session, &email, &role, &scope).await,
        Verb::Suspend { email } => set_state(&client, session, &email, "suspended").await,
        Verb::Restore { email } => set_state(&client, session, &email, "active").await,
        Verb::Reset { email, second_factor } => reset(&client, session, &email, second_factor).await,
        Verb::Remove { email } => {
            client.delete_quietly(&person_path(&email, "")).await?;
            done(
                session,
                &format!("{email} is gone, with all roles; the audit log keeps the name"),
            )
        }
    }
}

fn done(session: &Session, words: &str) -> Result<()> {
    session.ui.result(&serde_json::json!({ "done": words }), || {
        session.ui.note(words);
        Ok(())
    })
}

async fn list(client: &Client, session: &Session) -> Result<()> {
    let people: Vec<Person> = client.get("/v1/people").await?;
    let ui = &session.ui;
    ui.result(&people, || {
        let rows: Vec<Vec<Cell>> = people.iter().map(row).collect();
        let headers = ["EMAIL", "NAME", "ROLES", "SECOND FACTOR", "LAST SEEN", "STATE"];
        ui.table(
            &headers,
            &rows,
            "nobody is here yet; weir people invite EMAIL --scope SCOPE",
        )
    })
}

fn row(person: &Person) -> Vec<Cell> {
    vec![
        person.email.as_str().into(),
        person.name.as_str().into(),
        grants_text(&person.grants).as_str().into(),
        if person.totp { "on" } else { "off" }.into(),
        person.last_seen.as_deref().map(ago).into(),
        Cell::state(&person.state),
    ]
}

/// `admin of shop, viewer of blog`.
pub(crate) fn grants_text(grants: &[RoleGrant]) -> String {
    if grants.is_empty() {
        return "none".to_owned();
    }
    let words: Vec<String> = grants
        .iter()
        .map(|grant| format!("{} of {}", grant.role, grant.scope))
        .collect();
    words.join(", ")
}

async fn invite(client: &Client, session: &Session, request: &CreateInvitation) -> Result<()> {
    let made: Invitation = client.post("/v1/invitations", request).await?;
    let ui = &session.ui;
    ui.result(&made, || {
        let whom = made.email.as_deref().unwrap_or("whoever has the link");
        ui.note(&format!(
            "{whom} becomes {}; give them this link, which is not shown again and holds until {}",
            grants_text(&made.grants),
            made.expires
        ));
        ui.data(&format!(
            "{}{}",
            client.base(),
            made.link.as_deref().unwrap_or_default()
        ))
    })
}

async fn invitations(client: &Client, session: &Session) -> Result<()> {
    let open: Vec<Invitation> = client.get("/v1/invitations").await?;
    let ui = &session.ui;
    ui.result(&open, || {
        let rows: Vec<Vec<Cell>> = open
            .iter()
            .map(|one| {
                vec![
                    one.id.as_str().into(),
                    one.email.clone().into(),
                    grants_text(&one.grants).as_str().into(),
                    one.created_by.as_str().into(),
                    one.expires.as_str().into(),
                ]
            })
            .collect();
        ui.table(
            &["INVITATION", "FOR", "ROLES", "BY", "UNTIL"],
            &rows,
            "no invitation is open",
        )
    })
}

async fn set_role(client: &Client, session: &Session, email: &str, role: &str, scope: &str) -> Result<()> {
    let people: Vec<Person> = client.get("/v1/people").await?;
    let wanted = email.to_lowercase();
    let found = people
        .into_iter()
        .find(|person| person.email == wanted || person.id == email);
    let person = found.ok_or_else(|| {
        Failure::not_found(format!("there is nobody with the address {email}"))
            .hint(format!("weir people invite {email} --role {role} --scope {scope}"))
    })?;
    let mut grants = person.grants;
    grants.retain(|grant| grant.scope != scope);
    if role != "none" {
        grants.push(RoleGrant {
            role: role.to_owned(),
            scope: scope.to_owned(),
        });
    }
    let changed: Person = client
        .put(&person_path(email, "/grants"), &SetGrants { grants })
        .await?;
    session.ui.result(&changed, || {
        session
            .ui
            .note(&format!("{} is now {}", changed.email, grants_text(&changed.grants)));
        Ok(())
    })
}

async fn set_state(client: &Client, session: &Session, email: &str, state: &str) -> Result<()> {
    let request = UpdatePerson {
        state: state.to_owned(),
    };
    let changed: Person = client.patch(&person_path(email, ""), &request).await?;
    session.ui.result(&changed, || {
        session.ui.note(&format!("{} is {}", changed.email, changed.state));
        Ok(())
    })
}

async fn reset(client: &Client, session: &Session, email: &str, second_factor: bool) -> Result<()> {
    if second_factor {
        client.delete_quietly(&person_path(email, "/totp")).await?;
    }
    let link: ResetLink = client.post_empty(&person_path(email, "/password-reset")).await?;
    let ui = &session.ui;
    ui.result(&link, || {
        ui.note(&format!(
            "{email} sets a new password by this link, which is not shown again and holds until {}",
            link.expires
        ));
        ui.data(&format!("{}{}", client.base(), link.path))
    })
}

/// The path of a person.
pub(crate) fn person_path(email: &str, rest: &str) -> String {
    format!("/v1/people/{}{rest}", segment(email))
}

/// Any text as one part of a path.
pub(crate) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let code = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_one_part_of_a_path() {
        assert_eq!(person_path("a/b@x.org", "/totp"), "/v1/people/a%2Fb%40x%2Eorg/totp");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
