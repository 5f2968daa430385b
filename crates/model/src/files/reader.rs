//! Reading `weir.toml`: syntax, then keys and types by the JSON schema, then meaning.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::types::ProjectFile;
use super::values::{Duration, MemorySize, RequestRate, shorten};
use super::{WEIR_TOML, WEIR_TOML_BYTES};

/// Most problems that are told of at once.
const PROBLEMS: usize = 20;

/// What is wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// Line, from 1, where it can be told.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FileProblems {
    /// Path of the file, as the person knows it.
    pub file: String,
    /// In the order of the lines; at least one.
    pub problems: Vec<FileProblem>,
}

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "{}{}: {}", self.file, at_line(one.line), one.message),
            several => {
                write!(f, "{} has {} problems:", self.file, several.len())?;
                several.iter().try_for_each(|problem| match problem.line {
                    Some(line) => write!(f, "\n  line {line}: {}", problem.message),
                    None => write!(f, "\n  {}", problem.message),
                })
            }
        }
    }
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

/// Collects problems, and knows the lines of keys (`process.web.memory`).
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<FileProblem>,
    lines: BTreeMap<String, usize>,
}

impl Findings {
    /// Notes a problem at a key; at the nearest key above it that has a line.
    pub(super) fn at(&mut self, key: &str, message: impl Into<String>) {
        let mut key = key;
        let line = loop {
            match (self.lines.get(key), key.rfind('.')) {
                (Some(line), _) => break Some(*line),
                (None, Some(dot)) => key = &key[..dot],
                (None, None) => break None,
            }
        };
        self.problems.push(FileProblem {
            line,
            message: message.into(),
        });
    }

    fn into_result<T>(mut self, value: T) -> Result<T, FileProblems> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        self.problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        self.problems.dedup();
        if self.problems.len() > PROBLEMS {
            let more = self.problems.len() - PROBLEMS;
            self.problems.truncate(PROBLEMS);
            self.problems.push(FileProblem {
                line: None,
                message: format!("and {more} more"),
            });
        }
        Err(FileProblems {
            file: WEIR_TOML.to_owned(),
            problems: self.problems,
        })
    }
}

impl ProjectFile {
    /// Reads and checks a `weir.toml`. All problems are reported together.
    pub fn parse(text: &str) -> Result<Self, FileProblems> {
        let mut findings = Findings::default();
        if text.len() > WEIR_TOML_BYTES {
            findings.at(
                "",
                format!("it has {} bytes; at most {WEIR_TOML_BYTES} are read", text.len()),
            );
            return findings.into_result(Self::default());
        }
        let line_of = |offset: usize| {
            1 + text.as_bytes()[..offset.min(text.len())]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count()
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map(|span| line_of(span.start));
            findings.problems.push(FileProblem {
                line,
                message: error.message().to_owned(),
            });
        }
        if !findings.problems.is_empty() {
            return findings.into_result(Self::default());
        }
        let schema = schema_value();
        Walk {
            root: &schema,
            line_of: &line_of,
            findings: &mut findings,
        }
        .table(table.get_ref(), &schema, "");
        if !findings.problems.is_empty() {
            return findings.into_result(Self::default());
        }
        match toml::from_str::<Self>(text) {
            Ok(file) => {
                super::spec::check(&file, &mut findings);
                findings.into_result(file)
            }
            Err(error) => {
                let line = error.span().map(|span| line_of(span.start));
                findings.problems.push(FileProblem {
                    line,
                    message: error.message().to_owned(),
                });
                findings.into_result(Self::default())
            }
        }
    }
}

/// The JSON schema of `weir.toml`, as it is published.
pub fn schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&schema_value()).unwrap_or_default();
    text.push('\n');
    text
}

/// What the reference says of a key, named by the way to it: `process.web.memory`. `None` if there is
/// no such key.
pub fn describe_key(path: &str) -> Option<String> {
    static SCHEMA: std::sync::LazyLock<Value> = std::sync::LazyLock::new(schema_value);
    let mut at: &Value = &SCHEMA;
    for part in path.split('.') {
        // Lists of tables are described by what is in them.
        let table = at.get("items").unwrap_or(at);
        let named = table.get("properties").and_then(|keys| keys.get(part));
        at = named.or_else(|| table.get("additionalProperties").filter(|any| any.is_object()))?;
    }
    at.get("description")?.as_str().map(str::to_owned)
}

fn schema_value() -> Value {
    let settings =
        schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<ProjectFile>();
    let mut value = schema.to_value();
    without_null(&mut value);
    value
}

/// TOML has no null: what may be absent is simply absent.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    object.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
                if let [Value::Object(one)] = choices.as_slice() {
                    let one = one.clone();
                    object.remove("anyOf");
                    for (key, inner) in one {
                        object.entry(key).or_insert(inner);
                    }
                }
            }
            object.remove("default");
            object.values_mut().for_each(without_null);
        }
        Value::Array(array) => array.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// The check of keys and types.
struct Walk<'a> {
    root: &'a Value,
    line_of: &'a dyn Fn(usize) -> usize,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, schema: &Value, at: &str) {
        let known = schema.get("properties").and_then(Value::as_object);
        let any = schema.get("additionalProperties").filter(|any| any.is_object());
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let path = if at.is_empty() {
                name.to_owned()
            } else {
                format!("{at}.{name}")
            };
            self.findings
                .lines
                .insert(path.clone(), (self.line_of)(key.span().start));
            match known.and_then(|known| known.get(name)).or(any) {
                Some(schema) => self.value(value, schema, &path),
                None => {
                    let message = self.unknown(name, at, known);
                    self.findings.at(&path, message);
                }
            }
        }
        for required in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !table.contains_key(required) {
                self.findings.at(at, format!("[{at}] needs the key `{required}`"));
            }
        }
    }

    fn unknown(&self, name: &str, at: &str, known: Option<&serde_json::Map<String, Value>>) -> String {
        let place = if at.is_empty() {
            "the top level".to_owned()
        } else {
            format!("[{at}]")
        };
        let mut message = format!("unknown key `{}` in {place}", shorten(name));
        let names: Vec<&str> = known
            .into_iter()
            .flat_map(|known| known.keys())
            .map(String::as_str)
            .collect();
        let nearest = names
            .iter()
            .map(|known| {
                (
                    strsim::damerau_levenshtein(known, &shorten(name).to_lowercase()),
                    *known,
                )
            })
            .min();
        let mut homes = Vec::new();
        homes_of(self.root, name, "", &mut homes);
        match nearest {
            Some((distance, nearest)) if distance <= 2 || (distance == 3 && name.len() > 6) => {
                message.push_str(&format!("; did you mean `{nearest}`?"));
            }
            _ if !homes.is_empty() => message.push_str(&format!("; it belongs in {}", homes.join(" or "))),
            Some((_, nearest)) => message.push_str(&format!(
                "; the nearest known key is `{nearest}`; known here: {}",
                names.join(", ")
            )),
            None => {}
        }
        message
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, schema: &Value, path: &str) {
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("string");
        match (kind, value.get_ref()) {
            ("object", DeValue::Table(table)) => self.table(table, schema, path),
            ("array", DeValue::Array(array)) => {
                let items = schema.get("items").cloned().unwrap_or_default();
                for (index, item) in array.iter().enumerate() {
                    let path = format!("{path}.{}", index + 1);
                    self.findings
                        .lines
                        .insert(path.clone(), (self.line_of)(item.span().start));
                    self.value(item, &items, &path);
                }
            }
            ("string", DeValue::String(text)) => self.text(text, schema, path),
            ("boolean", DeValue::Boolean(_)) => {}
            ("string", DeValue::Boolean(_))
                if matches!(
                    schema.get("format").and_then(Value::as_str),
                    Some("weir-switch" | "weir-tls")
                ) => {}
            ("integer", DeValue::Integer(number)) => {
                let radix = number.radix();
                self.number(
                    i64::from_str_radix(number.as_str(), radix).ok().map(precise),
                    schema,
                    path,
                );
            }
            ("number", DeValue::Integer(number)) => self.number(number.as_str().parse().ok(), schema, path),
            ("number", DeValue::Float(number)) => self.number(number.as_str().parse().ok(), schema, path),
            (_, other) => {
                let wanted = match (kind, schema.get("format").and_then(Value::as_str)) {
                    (_, Some("weir-size")) => "a size in quotes, like \"512MiB\"",
                    (_, Some("weir-duration")) => "a duration in quotes, like \"30s\"",
                    (_, Some("weir-rate")) => "a rate in quotes, like \"5/s\"",
                    (_, Some("weir-switch")) => "true, false or \"with-query\"",
                    (_, Some("weir-tls")) => "true, false, \"end\" or \"passthrough\"",
                    ("string", _) => "text in quotes",
                    ("object", _) => "a table",
                    ("array", _) => "a list",
                    ("boolean", _) => "true or false",
                    ("integer", _) => "a whole number",
                    _ => "a number",
                };
                self.findings
                    .at(path, format!("`{path}` must be {wanted}, not {}", described(other)));
            }
        }
    }

    fn text(&mut self, text: &str, schema: &Value, path: &str) {
        let problem = match schema.get("format").and_then(Value::as_str) {
            Some("weir-size") => text.parse::<MemorySize>().err(),
            Some("weir-duration") => text.parse::<Duration>().err(),
            Some("weir-rate") => text.parse::<RequestRate>().err(),
            _ => None,
        };
        if let Some(problem) = problem {
            self.findings.at(path, format!("`{path}`: {problem}"));
        }
        let words = words_of(schema);
        if !words.is_empty() && !words.contains(&text) {
            let nearest = words
                .iter()
                .map(|word| (strsim::damerau_levenshtein(word, &shorten(text).to_lowercase()), *word))
                .min();
            let mut message = format!("`{path}` cannot be `{}`", shorten(text));
            if let Some((distance, nearest)) = nearest
                && distance <= 2
            {
                message.push_str(&format!("; did you mean `{nearest}`?"));
            }
            message.push_str(&format!(" It is one of: {}", words.join(", ")));
            self.findings.at(path, message);
        }
    }

    fn number(&mut self, number: Option<f64>, schema: &Value, path: &str) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let (least, most) = (bound("minimum").unwrap_or(0.0), bound("maximum").unwrap_or(f64::MAX));
        // Written so that "not a number" is refused too.
        if !number.is_some_and(|number| number >= least && number <= most) {
            self.findings
                .at(path, format!("`{path}` must be from {least} to {most}"));
        }
    }
}

/// Bounds are small; beyond 2^53 the exact number does not matter, it is refused anyway.
fn precise(number: i64) -> f64 {
    i32::try_from(number).map_or(if number < 0 { f64::MIN } else { f64::MAX }, f64::from)
}

fn words_of(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let described = described.flat_map(|choice| {
        choice
            .get("const")
            .into_iter()
            .chain(choice.get("enum").and_then(Value::as_array).into_iter().flatten())
    });
    listed.chain(described).filter_map(Value::as_str).collect()
}

/// The tables that have a key of this name, like `[process.NAME]`; not those inside of apps,
/// which repeat the top level.
fn homes_of(schema: &Value, name: &str, at: &str, homes: &mut Vec<String>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    if !at.is_empty() && properties.contains_key(name) {
        homes.push(format!("[{at}]"));
    }
    for (key, inner) in properties {
        let path = if at.is_empty() {
            key.clone()
        } else {
            format!("{at}.{key}")
        };
        homes_of(inner, name, &path, homes);
        if key != "app" || name == "folder" {
            for several in [inner.get("additionalProperties"), inner.get("items")]
                .into_iter()
                .flatten()
            {
                let path = if inner.get("items").is_some() {
                    path.clone()
                } else {
                    format!("{path}.NAME")
                };
                homes_of(several, name, &path, homes);
            }
        }
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests;
