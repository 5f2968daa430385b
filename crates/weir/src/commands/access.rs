use std::io::{BufRead as _, IsTerminal as _, Write as _};

use weir_api::{Protection, SetAccess};

use crate::context::PlaceChoice;
use crate::failure::{Failure, Result};
use crate::output::{Cell, ago};
use crate::session::Session;

/// Who may pass to an environment: a whole one behind passwords.
///
/// Without anybody everybody may pass. For single paths there is `password` in `[[route]]` in
/// weir.toml. Browsers ask for name and password by themselves.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir access add anna --env staging\n  weir access add ci --env staging --password-stdin < password.txt\n  weir access list --env staging\n  weir access remove anna --env staging"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Let somebody pass with a password, or give them another one. It holds within a second.
    Add {
        /// The name to give with the password.
        name: String,
        /// Read the password from standard input instead of asking for it.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Show who may pass.
    List {
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Let somebody pass no more. Once nobody is left, everybody may pass.
    Remove {
        /// Who.
        name: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.verb {
        Verb::Add {
            name,
            password_stdin,
            place,
        } => {
            let place = place.resolve()?;
            let path = place.path(&format!("/access/{}", in_path(&name)?));
            let password = if password_stdin { read_line()? } else { ask(&name)? };
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            let protection: Protection = client.put(&path, &SetAccess { password }).await?;
            ui.result(&protection, || {
                let among = protection.users.len();
                ui.note(&format!(
                    "{name} may pass to {} {}; {among} may in all, and nobody else",
                    place.project, place.environment
                ));
                Ok(())
            })
        }
        Verb::List { place } => {
            let protection: Protection = client.get(&place.resolve()?.path("/protection")).await?;
            ui.result(&protection.users, || {
                let rows: Vec<Vec<Cell>> = protection
                    .users
                    .iter()
                    .map(|user| vec![user.name.as_str().into(), ago(&user.set).into()])
                    .collect();
                ui.table(&["NAME", "PASSWORD SET"], &rows, "everybody may pass")
            })
        }
        Verb::Remove { name, place } => {
            let path = place.resolve()?.path(&format!("/access/{}", in_path(&name)?));
            let protection: Protection = client.delete(&path).await?;
            ui.result(&protection, || {
                let left = match protection.users.len() {
                    0 => "nobody is left, so everybody may pass now".to_owned(),
                    left => format!("{left} still may"),
                };
                ui.note(&format!("{name} may pass no more; {left}"));
                Ok(())
            })
        }
    }
}

/// A name as a part of a path.
fn in_path(name: &str) -> Result<String> {
    if name.is_empty() || name == "." || name == ".." || name.contains(':') || name.chars().any(char::is_control) {
        return Err(Failure::usage("a name has 1 to 100 characters and no colon"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let code = |byte: u8| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    Ok(name.bytes().map(code).collect())
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

fn ask(name: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to ask for the password")
            .hint(format!("weir access add {name} --password-stdin < FILE")));
    }
    let mut err = std::io::stderr().lock();
    write!(err, "Password for {name} (it is not shown): ")?;
    err.flush()?;
    let line = crate::terminal::without_echo(read_line)?;
    writeln!(err)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_goes_into_a_path() {
        assert_eq!(in_path("anna.b-c_1").unwrap(), "anna.b-c_1");
        assert_eq!(in_path("a/b ü?").unwrap(), "a%2Fb%20%C3%BC%3F");
        for wrong in ["", "..", "a:b", "a\nb"] {
            assert!(in_path(wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
