//! Stacks: the images that apps of detected languages are built on, made by Weir from
//! Debian's packages on first use, so that a fresh machine needs no image registry and meets
//! no pull limits. One root of Debian is made by `mmdebstrap`; the others are built on it.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// An image that Weir makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stack {
    /// Debian's minimal system with certificate authorities and the user `app`.
    Debian {
        /// `trixie` or `bookworm`.
        suite: String,
    },
    /// Debian with Python and an empty virtual environment in `/opt/venv`.
    Python {
        /// `3.13` or `3.11`.
        version: String,
    },
    /// Debian with Node.js and npm.
    Node {
        /// What npm is asked for: `24`, `20.11.1`.
        version: String,
    },
    /// Debian with nginx, which serves `/app`.
    Static,
}

/// Where the images' names begin.
const PREFIX: &str = "weir-stack/";
/// Label with the name of a stack.
pub const STACK_LABEL: &str = "weir.stack";
/// Label with the fingerprint of its recipe; another recipe makes the stack anew.
pub(crate) const RECIPE_LABEL: &str = "weir.stack.recipe";
/// The newest suite.
pub(crate) const TRIXIE: &str = "trixie";
/// The search path of programs in stacks.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Serves `/app` as files on `$PORT`.
const STATIC_SCRIPT: &str = include_str!("stack/serve.sh");
/// Fetches Node.js and npm from the npm registry.
const NODE_SCRIPT: &str = include_str!("stack/node.sh");

/// How a stack is made.
#[derive(Debug)]
pub(crate) enum Making {
    /// By `mmdebstrap`.
    Debootstrap {
        /// The suite.
        suite: String,
    },
    /// By a Dockerfile on another stack.
    Dockerfile {
        /// The stack that it is built on.
        on: Stack,
        /// Its text.
        text: String,
        /// Files of its context.
        files: Vec<(&'static str, &'static str)>,
    },
}

impl Stack {
    /// The image's reference: `weir-stack/python:3.13`.
    pub fn tag(&self) -> String {
        match self {
            Self::Debian { suite } => format!("{PREFIX}debian:{suite}"),
            Self::Python { version } => format!("{PREFIX}python:{version}"),
            Self::Node { version } => format!("{PREFIX}node:{version}"),
            Self::Static => format!("{PREFIX}static:1"),
        }
    }

    /// The name for people: `python:3.13`.
    pub fn name(&self) -> String {
        self.tag()[PREFIX.len()..].to_owned()
    }

    /// Reads a reference. `None` if it is no stack that can be made.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let name = tag.strip_prefix("docker.io/").unwrap_or(tag).strip_prefix(PREFIX)?;
        let (kind, version) = name.split_once(':')?;
        match (kind, version) {
            ("debian", TRIXIE | "bookworm") => Some(Self::Debian {
                suite: version.to_owned(),
            }),
            ("python", "3.13" | "3.11") => Some(Self::Python {
                version: version.to_owned(),
            }),
            ("node", version)
                if version.len() <= 20
                    && version.split('.').count() <= 3
                    && version.split('.').all(|part| part.parse::<u32>().is_ok()) =>
            {
                Some(Self::Node {
                    version: version.to_owned(),
                })
            }
            ("static", "1") => Some(Self::Static),
            _ => None,
        }
    }

    /// How long making it takes, roughly, in seconds, without what it is built on.
    pub(crate) fn seconds(&self) -> u32 {
        match self {
            Self::Debian { .. } => 25,
            Self::Python { .. } | Self::Static => 10,
            Self::Node { .. } => 15,
        }
    }

    pub(crate) fn making(&self) -> Making {
        let suite = match self {
            Self::Debian { suite } => return Making::Debootstrap { suite: suite.clone() },
            Self::Python { version } if version == "3.11" => "bookworm",
            _ => TRIXIE,
        };
        let on = Self::Debian {
            suite: suite.to_owned(),
        };
        let mut text = String::new();
        let mut files = Vec::new();
        match self {
            Self::Debian { .. } => {}
            Self::Python { .. } => {
                let _ = write!(
                    text,
                    "FROM {on}\nENV PATH=/opt/venv/bin:{PATH} VIRTUAL_ENV=/opt/venv LANG=C.UTF-8 PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore\n\
                     {apt} && python3 -m venv /opt/venv\nWORKDIR /app\n",
                    on = on.tag(),
                    apt = apt_line(suite, &["python3", "python3-venv"]),
                );
            }
            Self::Node { version } => {
                let _ = write!(
                    text,
                    "FROM {on} AS fetch\nENV PATH={PATH}\n{apt}\n\
                     RUN --mount=type=bind,source=weir,target=/run/weir --mount=type=cache,id=weir-stack-npm,target=/root/.npm WANTED={version} sh /run/weir/node.sh\n\
                     FROM {on}\nENV PATH=/app/node_modules/.bin:{PATH} LANG=C.UTF-8 NODE_ENV=production NPM_CONFIG_UPDATE_NOTIFIER=false npm_config_nodedir=/usr/local\n\
                     COPY --from=fetch /opt/node/ /usr/local/\nWORKDIR /app\n",
                    on = on.tag(),
                    apt = apt_line(suite, &["curl"]),
                );
                files.push(("weir/node.sh", NODE_SCRIPT));
            }
            Self::Static => {
                let _ = write!(
                    text,
                    "FROM {on}\nENV PATH={PATH} LANG=C.UTF-8\n{apt} && rm -rf /etc/nginx/sites-enabled /var/www\nCOPY weir/serve.sh /usr/local/bin/weir-serve\n\
                     RUN chmod 0755 /usr/local/bin/weir-serve\nWORKDIR /app\nUSER 1000:1000\nCMD [\"/usr/local/bin/weir-serve\"]\n",
                    on = on.tag(),
                    apt = apt_line(suite, &["nginx-light"]),
                );
                files.push(("weir/serve.sh", STATIC_SCRIPT));
            }
        }
        Making::Dockerfile { on, text, files }
    }

    /// A fingerprint of how it is made, and of how all that it is built on is made.
    pub(crate) fn recipe_version(&self) -> String {
        let mut hash = Sha256::new();
        match self.making() {
            Making::Debootstrap { suite } => {
                hash.update(crate::debootstrap::arguments(&suite).join("\n"));
            }
            Making::Dockerfile { on, text, files } => {
                hash.update(on.recipe_version());
                hash.update(&text);
                for (_, content) in files {
                    hash.update(content);
                }
            }
        }
        let mut version = String::with_capacity(16);
        for byte in hash.finalize().iter().take(8) {
            let _ = write!(version, "{byte:02x}");
        }
        version
    }
}

/// A `RUN` line that installs Debian packages; lists and archives are kept out of the image.
pub(crate) fn apt_line(suite: &str, packages: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    format!(
        "RUN --mount=type=cache,id=weir-stack-lists-{suite},target=/var/lib/apt/lists,sharing=locked --mount=type=cache,id=weir-stack-archives-{suite},target=/var/cache/apt,sharing=locked \
         apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {}",
        names.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_stacks_read_back() {
        for tag in [
            "weir-stack/debian:trixie",
            "weir-stack/python:3.13",
            "weir-stack/node:20.11.1",
            "weir-stack/static:1",
        ] {
            assert_eq!(Stack::from_tag(tag).map(|stack| stack.tag()).as_deref(), Some(tag));
        }
        for tag in [
            "python:3.13",
            "weir-stack/python:2.7",
            "weir-stack/node:24; rm",
            "weir-stack/node:",
            "weir-stack/x:1",
        ] {
            assert_eq!(Stack::from_tag(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_stack_is_made_anew_when_what_it_is_built_on_changes() {
        let versions: Vec<String> = [
            "weir-stack/debian:trixie",
            "weir-stack/python:3.13",
            "weir-stack/python:3.11",
        ]
        .iter()
        .filter_map(|tag| Stack::from_tag(tag))
        .map(|stack| stack.recipe_version())
        .collect();
        assert_eq!(versions.len(), 3);
        assert!(versions[0] != versions[1] && versions[1] != versions[2]);
    }
}
