//! How things stand in an environment, in words, for somebody who is to help.
//!
//! What apps wrote may hold values of variables; where it does, the name of the variable is put in place
//! of the value. Secrets of four characters and more and other values of eight and more are found; what is
//! shorter is a word like any other.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use weir_api::{EnvironmentStatus, HelpContext, HelpContextPart};
use weir_model::policy::{Permission, Place, Rights};
use weir_model::project::{Environment, Project, Variable};
use weir_model::release::Release;

use crate::api::ApiError;
use crate::api::auth::Caller;
use crate::api::caps::MoneyOfEnvironment;
use crate::api::present::instant;
use crate::context::Context;
use crate::logs::LogQuery;
use crate::status;

/// Lines of a log or a task.
const LINES: usize = 100;
const TASK_LINES: i64 = 100;
/// So many values are looked for; where there are more, what apps wrote is left out.
const VALUES: usize = 2_000;
/// Longest text of a part; of what is longer the end is kept.
const PART_BYTES: usize = 32 << 10;
/// Newest deployments whose values are looked for in what apps wrote.
const RELEASES: i64 = 10;
const SECRET_CHARACTERS: usize = 4;
const VALUE_CHARACTERS: usize = 8;

/// How things stand, as far as the one who asks may see it.
pub(super) async fn of(context: &Context, caller: &Caller, scope: &str, place: Place) -> Result<HelpContext, ApiError> {
    let (Some(project), Some(environment)) = (place.project(), place.environment()) else {
        return Err(of_no_environment(scope));
    };
    let project = context.store.project_by_id(project).await?;
    let environment = context.store.environment_by_id(environment).await?;
    let (Some(project), Some(environment)) = (project, environment) else {
        return Err(of_no_environment(scope));
    };
    let mut parts: Vec<(&str, String)> = Vec::new();
    if caller.rights.may(Permission::See, place) {
        let values = Values::of(context, &environment).await?;
        let status = status::of_environment(context, &project, &environment).await?;
        parts.push(("Status", values.conceal(&status_in_words(&status))));
        parts.push(("Newest deployment", deployment(context, &environment, &values).await?));
        parts.push(("Newest log lines", logs(context, &environment, &values).await?));
        parts.push(("Variables (names only)", values.names()));
    }
    if caller.rights.may(Permission::SeeMoney, place) {
        parts.push(("Money", money(context, &caller.rights, &project, &environment).await?));
    }
    let part = |(title, text): (&str, String)| HelpContextPart {
        title: title.to_owned(),
        text,
    };
    Ok(HelpContext {
        at: instant(context.clock.now_ms()),
        parts: parts.into_iter().map(part).collect(),
    })
}

/// The answer where there is nothing to attach.
pub(super) fn of_no_environment(scope: &str) -> ApiError {
    ApiError::invalid("only how an environment stands can be attached")
        .with_detail(format!("`{scope}` is none"))
        .with_hint("name one like shop/production, or ask without `attach`")
}

fn status_in_words(status: &EnvironmentStatus) -> String {
    let mut text = format!("{}/{} is {}", status.project, status.environment.name, status.health);
    if let Some(detail) = &status.detail {
        let _ = write!(text, ": {detail}");
    }
    text.push('\n');
    for process in &status.processes {
        let (app, name) = (&process.app, &process.process);
        let _ = writeln!(text, "{app}.{name}: {} of {} ready", process.ready, process.wanted);
        for instance in &process.instances {
            let reason = instance.reason.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "  {} v{} {} {reason} (started {}, {} crashes in a row)",
                instance.id, instance.release, instance.state, instance.started, instance.crashes
            );
            for line in &instance.last_lines {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    text
}

async fn deployment(context: &Context, environment: &Environment, values: &Values) -> Result<String, ApiError> {
    let newest = context.store.deployment_list(environment.id, 1).await?;
    let Some(newest) = newest.first() else {
        return Ok("nothing was deployed yet".to_owned());
    };
    let release = context.store.release_by_id(newest.release).await?;
    let number = release.map_or(0, |release| release.number);
    let reason = newest.reason.as_deref().unwrap_or("no reason given");
    let mut text = format!(
        "v{number} ({}), asked for {}, {} since {} ({reason})\n",
        newest.kind.as_str(),
        instant(newest.created_ms),
        newest.state.as_str(),
        instant(newest.entered_ms),
    );
    for line in context.store.task_lines_last(newest.task, TASK_LINES).await? {
        let _ = writeln!(text, "{} {}", instant(line.at_ms), line.text);
    }
    Ok(values.conceal(&text))
}

async fn logs(context: &Context, environment: &Environment, values: &Values) -> Result<String, ApiError> {
    let query = LogQuery {
        limit: LINES,
        ..LogQuery::new(environment.id)
    };
    let lines = context.logs.read(query).await.map_err(ApiError::internal)?;
    let mut text = String::new();
    for line in &lines {
        let _ = writeln!(
            text,
            "{} {}.{} {}",
            instant(line.at_ms),
            line.app,
            line.process,
            line.text
        );
    }
    Ok(values.conceal(&text))
}

async fn money(
    context: &Context,
    rights: &Rights,
    project: &Project,
    environment: &Environment,
) -> Result<String, ApiError> {
    let money = MoneyOfEnvironment::of(context, project, environment).await?;
    let Some(money) = money.and_then(|money| money.seen_by(rights)) else {
        return Ok("the ledger does not know it yet".to_owned());
    };
    let mut text = format!("spent {} {}", money.spent, money.currency);
    if let Some(left) = &money.left {
        let _ = write!(
            text,
            "; left {left} {} under the cap of {}",
            money.currency, money.scope
        );
    }
    if let Some(stopped) = &money.stopped {
        let _ = write!(text, "\nnothing more is spent: {}", stopped.message);
    }
    Ok(text)
}

/// The end of a long text, from the beginning of a line: a value that is cut in two would not be found.
fn end_of(text: &str) -> String {
    if text.len() <= PART_BYTES {
        return text.to_owned();
    }
    let mut from = text.len() - PART_BYTES;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let rest = text[from..].split_once('\n').map_or("", |(_, rest)| rest);
    format!("(what came before is left out)\n{rest}")
}

/// What must not be told, with what it is called: longest first, so that no part of a longer one remains.
#[derive(Debug, Default)]
struct Values {
    names: BTreeSet<String>,
    concealed: Vec<(String, String)>,
}

impl Values {
    /// Those that are set now, and those of the releases that ran or were to run lately: what they wrote
    /// goes along, too.
    async fn of(context: &Context, environment: &Environment) -> Result<Self, ApiError> {
        let mut values = Self::default();
        let set = context.store.variable_list(environment.id).await?;
        let mut releases: Vec<Release> = status::newest_release(context, environment)
            .await?
            .into_iter()
            .collect();
        for deployment in context.store.deployment_list(environment.id, RELEASES).await? {
            if releases.iter().all(|release| release.id != deployment.release) {
                releases.extend(context.store.release_by_id(deployment.release).await?);
            }
        }
        let released = releases.iter().flat_map(|release| &release.configuration);
        for variable in set.iter().chain(released) {
            values.add_variable(context, environment, variable)?;
        }
        for release_app in releases.iter().flat_map(|release| release.apps.values()) {
            for (name, value) in &release_app.spec.variables {
                values.add(name, value, VALUE_CHARACTERS);
            }
        }
        values.in_order();
        Ok(values)
    }

    fn add_variable(
        &mut self,
        context: &Context,
        environment: &Environment,
        variable: &Variable,
    ) -> Result<(), ApiError> {
        let value = context.sealer.value_of(environment.id, variable)?;
        let least = if variable.secret {
            SECRET_CHARACTERS
        } else {
            VALUE_CHARACTERS
        };
        self.add(variable.name.as_str(), value.expose(), least);
        Ok(())
    }

    /// Also by line, because what an app writes comes by line.
    fn add(&mut self, name: &str, value: &str, least: usize) {
        self.names.insert(name.to_owned());
        let lines = value.lines().map(str::trim).filter(|line| *line != value);
        for text in std::iter::once(value).chain(lines) {
            if text.chars().count() >= least {
                self.concealed.push((text.to_owned(), name.to_owned()));
            }
        }
    }

    fn in_order(&mut self) {
        self.concealed.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        self.concealed.dedup();
    }

    /// The end of what an app wrote, with names in place of values.
    fn conceal(&self, text: &str) -> String {
        if self.concealed.len() > VALUES {
            return "left out: there are too many values that must not be told".to_owned();
        }
        let mut text = end_of(text);
        for (value, name) in &self.concealed {
            if text.contains(value) {
                text = text.replace(value, &format!("[value of {name}]"));
            }
        }
        text
    }

    fn names(&self) -> String {
        match self.names.is_empty() {
            true => "none".to_owned(),
            false => self.names.iter().cloned().collect::<Vec<_>>().join("\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_by_their_name() {
        let mut values = Values::default();
        for (name, value, least) in [
            ("PASSWORD", "hunter2", SECRET_CHARACTERS),
            ("URL", "postgres://me:hunter2@db", SECRET_CHARACTERS),
            ("PIN", "123", SECRET_CHARACTERS),
            ("MODE", "web", VALUE_CHARACTERS),
            ("KEY", "-----BEGIN\nabcdefgh\n-----END", SECRET_CHARACTERS),
        ] {
            values.add(name, value, least);
        }
        values.in_order();
        let told = values.conceal("connect postgres://me:hunter2@db with hunter2, 123 times\nweb\nabcdefgh\n");
        assert_eq!(
            told,
            "connect [value of URL] with [value of PASSWORD], 123 times\nweb\n[value of KEY]\n"
        );
        assert_eq!(values.names(), "KEY\nMODE\nPASSWORD\nPIN\nURL");
    }

    #[test]
    fn where_there_are_too_many_values_nothing_of_apps_is_told() {
        let mut values = Values::default();
        let many: Vec<String> = (0..=VALUES).map(|number| format!("line{number:06}")).collect();
        values.add("KEY", &many.join("\n"), SECRET_CHARACTERS);
        values.in_order();
        assert!(values.conceal("line000007").starts_with("left out"));
    }

    #[test]
    fn of_a_long_text_the_end_is_told() {
        assert_eq!(end_of("short"), "short");
        let long = "ümläute\n".repeat(10_000);
        let told = end_of(&long);
        assert!(told.len() < PART_BYTES + 100 && told.starts_with("(what") && told.ends_with("ümläute\n"));
        assert!(told.lines().skip(1).all(|line| line == "ümläute"));
        let one_line = "x".repeat(PART_BYTES + 1);
        assert_eq!(end_of(&one_line), "(what came before is left out)\n");
    }
}
