//! The Dockerfile of a Python app: dependencies in `/opt/venv`, made in a stage that may have
//! compilers, then copied into an image without them.

use std::fmt::Write as _;

use super::{Draft, lent, shell_quoted, with_compilers};
use crate::plan::{Base, PythonDependencies, PythonPlan, PythonTool};

const PIP: &str = "/opt/venv/bin/python -m pip install --no-input --progress-bar off";
const TOOL_FOLDER: &str = "/opt/weir-tool";

impl Draft<'_> {
    pub(super) fn python(&mut self, python: &PythonPlan) {
        self.from(&python.base, "base");
        if matches!(python.base, Base::Image(_)) {
            self.line("USER 0:0");
            self.line("RUN python3 -m venv /opt/venv");
            self.line(
                "ENV PATH=/opt/venv/bin:$PATH VIRTUAL_ENV=/opt/venv PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1",
            );
        }
        self.line("FROM base AS dependencies");
        self.packages(&self.plan.image.build_packages.clone());
        self.line("WORKDIR /app");
        self.python_dependencies(python);
        let itself = matches!(python.dependencies, PythonDependencies::Project { itself: true, .. });
        let built = python.command.is_some() || itself;
        if built {
            self.line("FROM dependencies AS built");
            self.line("COPY app/ /app/");
            let mut commands = String::new();
            if itself {
                let _ = writeln!(commands, "{PIP} --no-deps .");
            }
            if let Some(command) = &python.command {
                let _ = writeln!(commands, "{command}");
            }
            self.step("build", lent(&commands), "");
        }
        self.line("FROM base AS app");
        self.packages(&self.plan.image.run_packages.clone());
        self.user(&python.base);
        self.keep_ca();
        if let Some(folder) = &python.module_folder {
            self.line(&format!("ENV PYTHONPATH=/app/{folder}"));
        }
        self.line(if itself {
            "COPY --from=built /opt/venv /opt/venv"
        } else {
            "COPY --from=dependencies /opt/venv /opt/venv"
        });
        self.line(if built {
            "COPY --from=built --chown=1000:1000 /app/ /app/"
        } else {
            "COPY --chown=1000:1000 app/ /app/"
        });
        self.line("USER 1000:1000");
    }

    fn python_dependencies(&mut self, python: &PythonPlan) {
        let mut commands = String::new();
        let mut mounts = "";
        match &python.dependencies {
            PythonDependencies::None => {}
            PythonDependencies::Requirements { files, whole_source } => {
                self.copy_files(files, *whole_source);
                let _ = writeln!(
                    commands,
                    "{PIP} -r {}",
                    files.first().map_or("requirements.txt", String::as_str)
                );
            }
            PythonDependencies::Project { requirements, .. } => {
                self.files.insert(
                    "weir/requirements.txt".to_owned(),
                    (requirements.join("\n") + "\n").into_bytes(),
                );
                mounts = " --mount=type=bind,source=weir/requirements.txt,target=/run/weir-requirements.txt";
                let _ = writeln!(commands, "{PIP} -r /run/weir-requirements.txt");
            }
            PythonDependencies::Tool {
                tool,
                files,
                whole_source,
            } => {
                let package = match tool {
                    PythonTool::Uv => "uv<1",
                    PythonTool::Poetry => "poetry>=2,<3 poetry-plugin-export",
                    PythonTool::Pipenv | PythonTool::PipenvUnlocked => "pipenv",
                };
                let install = format!(
                    "python3 -m venv {TOOL_FOLDER}\n{TOOL_FOLDER}/bin/python -m pip install --no-input --progress-bar off --quiet {}",
                    package.split(' ').map(shell_quoted).collect::<Vec<_>>().join(" ")
                );
                self.step("tool", lent(&install), "");
                self.copy_files(files, *whole_source);
                let _ = writeln!(commands, "{}", tool_command(*tool));
            }
        }
        if !python.additional.is_empty() {
            let _ = writeln!(commands, "{PIP} {}", python.additional.join(" "));
        }
        if !commands.is_empty() {
            self.step("install", with_compilers(&commands), mounts);
        }
    }

    /// Brings in the files that an installation reads; all of the source where it must.
    pub(super) fn copy_files(&mut self, files: &[String], whole_source: bool) {
        if whole_source {
            self.line("COPY app/ /app/");
            return;
        }
        for file in files {
            let folder = file
                .rsplit_once('/')
                .map_or("/app/".to_owned(), |(folder, _)| format!("/app/{folder}/"));
            self.line(&format!("COPY app/{file} {folder}"));
        }
    }
}

/// Installs into `/opt/venv` exactly what the lock file says.
fn tool_command(tool: PythonTool) -> String {
    let environment = "export VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH";
    match tool {
        PythonTool::Uv => format!(
            "{environment} UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1\n{TOOL_FOLDER}/bin/uv sync --frozen --inexact --no-dev --no-install-project"
        ),
        // Poetry says what is locked, and pip installs it: one cache, and plain indexes suffice.
        PythonTool::Poetry => format!(
            "{TOOL_FOLDER}/bin/poetry export --only main --format requirements.txt --output /tmp/weir-locked.txt --no-interaction --no-ansi\n{PIP} -r /tmp/weir-locked.txt"
        ),
        PythonTool::Pipenv => {
            format!("{environment} PIPENV_VERBOSITY=-1 PIPENV_NOSPIN=1\n{TOOL_FOLDER}/bin/pipenv sync")
        }
        PythonTool::PipenvUnlocked => {
            format!("{environment} PIPENV_VERBOSITY=-1 PIPENV_NOSPIN=1\n{TOOL_FOLDER}/bin/pipenv install --skip-lock")
        }
    }
}
