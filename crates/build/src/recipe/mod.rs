//! From a plan to a Dockerfile and the files that go with it. There is one way to build; the
//! languages differ in the text that is written here.
//!
//! A context of ours holds the app under `app/` and Weir's own files under `weir/`, so that no
//! `COPY` of the app ever takes them along. What a build step is lent (certificate
//! authorities, build variables, scripts) is mounted for that step and stays in no layer.

mod node;
mod python;
pub(crate) mod rewrite;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::plan::{AppPlan, Base, Recipe};
use crate::stack::{Stack, TRIXIE, apt_line};

/// Path of the bundle of certificate authorities inside of a build step.
pub(crate) const CA_PATH: &str = "/run/weir/ca-certificates.crt";
/// Variables by which programs are told of a bundle of certificate authorities.
pub(crate) const CA_VARIABLES: [&str; 9] = [
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
];
/// What a step that may need compilers says when it does not find them.
const COMPILER_SIGNS: &str = "gcc|g\\+\\+|C compiler|Python\\.h|pg_config|mysql_config|pkg-config|cmake|make: not found|not found: make|node-gyp|gyp ERR|Failed building wheel|Failed to build|metadata-generation-failed|subprocess-exited-with-error|Cannot find command .git.|git: not found|ENOENT.*git|spawn git";
/// Compilers and headers that are brought in when a dependency has to be compiled.
const COMPILERS: &str = "build-essential pkg-config git python3-dev libpq-dev libffi-dev libssl-dev zlib1g-dev libjpeg-dev libxml2-dev libxslt1-dev default-libmysqlclient-dev";

/// What goes to the engine, beside the app's own files.
#[derive(Debug)]
pub(crate) struct Written {
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// Files of the context, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Stacks that must exist.
    pub stacks: Vec<Stack>,
    /// Images that must exist or be fetched.
    pub images: Vec<String>,
    /// Top-level names of the app that never belong into its image.
    pub left_out: &'static [&'static str],
}

/// What all recipes need to know.
pub(crate) struct Surroundings<'a> {
    /// Keeps the package caches of projects apart.
    pub cache_key: &'a str,
    /// Whether there is a bundle of certificate authorities.
    pub has_ca: bool,
}

/// A Dockerfile that is being written.
struct Draft<'a> {
    plan: &'a AppPlan,
    around: &'a Surroundings<'a>,
    text: String,
    files: BTreeMap<String, Vec<u8>>,
    stacks: Vec<Stack>,
    images: Vec<String>,
}

/// Writes the Dockerfile of a detected language. `None`: the plan is not of that kind.
pub(crate) fn write(plan: &AppPlan, around: &Surroundings<'_>) -> Option<Written> {
    let mut draft = Draft {
        plan,
        around,
        text: String::new(),
        files: BTreeMap::new(),
        stacks: Vec::new(),
        images: Vec::new(),
    };
    let left_out: &'static [&'static str] = match &plan.image.recipe {
        Recipe::Python(python) => {
            draft.python(python);
            &[".venv", "venv", "__pycache__"]
        }
        Recipe::Node(node) => {
            draft.node(node);
            &["node_modules"]
        }
        Recipe::Static { publish } => {
            draft.site(publish);
            &["weir.toml", "Procfile", "node_modules"]
        }
        Recipe::Dockerfile { .. } | Recipe::Image { .. } => return None,
    };
    Some(Written {
        dockerfile: draft.text,
        files: draft.files,
        stacks: draft.stacks,
        images: draft.images,
        left_out,
    })
}

impl Draft<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// `FROM` a base under a stage name of ours.
    fn from(&mut self, base: &Base, stage: &str) {
        let reference = match base {
            Base::Stack(stack) => {
                if !self.stacks.contains(stack) {
                    self.stacks.push(stack.clone());
                }
                stack.tag()
            }
            Base::Image(reference) => {
                if !self.images.contains(reference) {
                    self.images.push(reference.clone());
                }
                reference.clone()
            }
        };
        self.line(&format!("FROM {reference} AS {stage}"));
    }

    /// A step that runs a script of ours with everything that it is lent.
    fn step(&mut self, name: &str, script: String, more_mounts: &str) {
        let path = format!("weir/{name}.sh");
        let _ = writeln!(
            self.text,
            "RUN --mount=type=bind,source=weir/lent,target=/run/weir --mount=type=bind,source={path},target=/run/weir-{name}.sh --mount=type=cache,id=weir-{key}-cache,target=/root/.cache{more_mounts} sh /run/weir-{name}.sh",
            key = self.around.cache_key,
        );
        self.files.insert(path, script.into_bytes());
    }

    /// Debian packages, where there are any to install.
    fn packages(&mut self, packages: &[String]) {
        if packages.is_empty() {
            return;
        }
        let suite = match &self.plan.image.recipe {
            Recipe::Python(python) if matches!(&python.base, Base::Stack(Stack::Python { version }) if version == "3.11") => {
                "bookworm"
            }
            Recipe::Python(python) if matches!(python.base, Base::Image(_)) => "image",
            Recipe::Node(node) if matches!(node.base, Base::Image(_)) => "image",
            _ => TRIXIE,
        };
        let line = apt_line(suite, packages);
        self.line(&line);
    }

    /// The user `app` and its folders; stacks have the user already.
    fn user(&mut self, base: &Base) {
        let mut folders = String::from("/app");
        for volume in self.plan.spec.volumes.values() {
            let _ = write!(folders, " {}", volume.path);
        }
        if matches!(base, Base::Image(_)) {
            self.line("RUN id -u app >/dev/null 2>&1 || useradd --uid 1000 --user-group --home-dir /app --shell /bin/sh app 2>/dev/null || adduser -D -u 1000 -h /app app 2>/dev/null || true");
        }
        self.line(&format!("RUN mkdir -p {folders} && chown 1000:1000 {folders}"));
        self.line("WORKDIR /app");
    }

    /// The machine's certificate authorities, where they are to stay.
    fn keep_ca(&mut self) {
        if self.plan.image.trust_ca && self.around.has_ca {
            self.text.push_str(&keep_ca_lines("COPY weir/lent/ca-certificates.crt"));
        }
    }

    fn site(&mut self, publish: &str) {
        let base = Base::Stack(Stack::Static);
        self.from(&base, "app");
        self.line("USER 0:0");
        self.user(&base);
        self.keep_ca();
        let from = if publish.is_empty() {
            "app/".to_owned()
        } else {
            format!("app/{publish}/")
        };
        self.line(&format!("COPY --chown=1000:1000 [\"{from}\", \"/app/\"]"));
        self.line("USER 1000:1000");
    }
}

/// The lines that keep a bundle of certificate authorities in an image.
pub(crate) fn keep_ca_lines(copy: &str) -> String {
    let place = "/etc/ssl/certs/ca-certificates.crt";
    format!("{copy} {place}\nENV SSL_CERT_FILE={place} REQUESTS_CA_BUNDLE={place} NODE_EXTRA_CA_CERTS={place}\n")
}

/// The file that every step of ours reads first: certificate authorities and build variables.
pub(crate) fn lent_environment(variables: &BTreeMap<String, String>, has_ca: bool) -> String {
    let mut text = String::new();
    if has_ca {
        for name in CA_VARIABLES {
            let _ = writeln!(text, "export {name}={CA_PATH}");
        }
    }
    for (name, value) in variables {
        let _ = writeln!(text, "export {name}={}", shell_quoted(value));
    }
    text
}

/// A text as one word of a shell, whatever is in it.
pub(crate) fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A script that does something, and does it once more with compilers if it turns out that
/// some dependency has to be compiled. Most apps need none, and compilers are large.
fn with_compilers(commands: &str) -> String {
    format!(
        r#"if [ "${{1:-}}" = attempt ]; then
set -eu
{commands}
exit 0
fi
[ -f /run/weir/env.sh ] && . /run/weir/env.sh
{{ sh "$0" attempt; echo "$?" >/tmp/weir-status; }} 2>&1 | tee /tmp/weir-log
if [ "$(cat /tmp/weir-status)" = 0 ]; then rm -f /tmp/weir-status /tmp/weir-log; exit 0; fi
if command -v apt-get >/dev/null && ! command -v gcc >/dev/null && grep -Eq '{COMPILER_SIGNS}' /tmp/weir-log; then
    echo "Something has to be compiled: bringing in compilers, then once more."
    {{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {COMPILERS}; }} >/tmp/weir-apt 2>&1 || {{ tail -n 20 /tmp/weir-apt; exit 1; }}
    exec sh "$0" attempt
fi
exit 1
"#
    )
}

/// A script that does something with what it is lent.
fn lent(commands: &str) -> String {
    format!("set -eu\n[ -f /run/weir/env.sh ] && . /run/weir/env.sh\n{commands}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_variables_cannot_leave_their_quotes() {
        let variables = BTreeMap::from([("A".to_owned(), "it's; rm -rf $(x) `y`\nz".to_owned())]);
        assert_eq!(
            lent_environment(&variables, false),
            "export A='it'\\''s; rm -rf $(x) `y`\nz'\n"
        );
    }
}
