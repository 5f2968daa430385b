//! The Dockerfile of a Node.js app: modules by the lock file, the build with all of them, and
//! an image with those that are needed to run.

use super::{Draft, lent, with_compilers};
use crate::plan::{Base, NodeManager, NodePlan};
use crate::stack::Stack;

/// Tells the package managers where the cache is that outlives a build.
const CACHES: &str = "export npm_config_cache=/root/.cache/npm YARN_CACHE_FOLDER=/root/.cache/yarn YARN_ENABLE_GLOBAL_CACHE=false YARN_NODE_LINKER=node-modules YARN_ENABLE_TELEMETRY=0 npm_config_store_dir=/root/.cache/pnpm CI=1 NODE_ENV=development";

impl Draft<'_> {
    pub(super) fn node(&mut self, node: &NodePlan) {
        self.from(&node.base, "base");
        if matches!(node.base, Base::Image(_)) {
            self.line("USER 0:0");
            self.line("ENV NODE_ENV=production PATH=/app/node_modules/.bin:$PATH");
        }
        self.line("WORKDIR /app");
        if let Some(package) = manager_package(&node.manager) {
            let install = format!("{CACHES}\nnpm install --global --force --no-audit --no-fund --silent {package}");
            self.step("manager", lent(&install), "");
        }
        let modules = !node.no_dependencies;
        if modules {
            self.line("FROM base AS modules");
            self.packages(&self.plan.image.build_packages.clone());
            self.copy_files(&node.files, node.whole_source);
            self.step(
                "install",
                with_compilers(&format!(
                    "{CACHES}\n{}\nmkdir -p node_modules",
                    install_command(&node.manager)
                )),
                "",
            );
        }
        if let Some(command) = &node.command {
            self.node_build(node, command, modules);
        }
        if let Some(publish) = &node.publish {
            self.node_site(publish);
            return;
        }
        let whole = node.keep_modules && node.command.is_some();
        if modules && !whole {
            self.line("FROM modules AS production");
            self.prune(node);
        }
        self.line("FROM base AS app");
        self.packages(&self.plan.image.run_packages.clone());
        self.user(&node.base);
        self.keep_ca();
        if modules && !whole {
            self.line("COPY --from=production --chown=1000:1000 /app/node_modules/ /app/node_modules/");
        }
        let source = match (&node.command, node.keep_modules && node.whole_source && modules) {
            (Some(_), _) => "COPY --from=built --chown=1000:1000 /app/ /app/",
            // Workspaces: modules lie in the folders of the packages, too.
            (None, true) => "COPY --from=production --chown=1000:1000 /app/ /app/",
            (None, false) => "COPY --chown=1000:1000 app/ /app/",
        };
        self.line(source);
        self.line("USER 1000:1000");
    }

    fn node_build(&mut self, node: &NodePlan, command: &str, modules: bool) {
        let command = format!("{CACHES}\nexport NODE_ENV=production\n{command}");
        if modules && node.keep_modules {
            self.line("FROM modules AS built");
            self.line("COPY app/ /app/");
            self.step("build", lent(&command), "");
            if node.publish.is_none() {
                self.prune(node);
            }
            return;
        }
        self.line("FROM base AS built");
        self.line("COPY app/ /app/");
        // Modules are lent, so that what the build leaves behind is the app without them.
        let mount = if modules {
            " --mount=type=bind,from=modules,source=/app/node_modules,target=/app/node_modules,rw"
        } else {
            ""
        };
        self.step("build", lent(&command), mount);
    }

    fn prune(&mut self, node: &NodePlan) {
        if node.has_development {
            self.step(
                "prune",
                lent(&format!("{CACHES}\n{}", prune_command(&node.manager))),
                "",
            );
        }
    }

    fn node_site(&mut self, publish: &str) {
        let base = Base::Stack(Stack::Static);
        self.from(&base, "app");
        self.line("USER 0:0");
        self.user(&base);
        self.keep_ca();
        self.line("ENV WEIR_SINGLE_PAGE=1");
        self.line(&format!(
            "COPY --from=built --chown=1000:1000 [\"/app/{publish}/\", \"/app/\"]"
        ));
        self.line("USER 1000:1000");
    }
}

/// The npm package of a package manager that is not npm itself.
fn manager_package(manager: &NodeManager) -> Option<String> {
    match manager {
        NodeManager::Npm { .. } => None,
        NodeManager::YarnClassic => Some("yarn@1".to_owned()),
        NodeManager::YarnModern { version } => Some(format!("@yarnpkg/cli-dist@{version}")),
        NodeManager::Pnpm { version, .. } => Some(format!("pnpm@{version}")),
    }
}

fn install_command(manager: &NodeManager) -> &'static str {
    match manager {
        NodeManager::Npm { locked: true } => "npm ci --include=dev --no-audit --no-fund --loglevel=error",
        NodeManager::Npm { locked: false } => {
            "npm install --include=dev --no-audit --no-fund --no-package-lock --loglevel=error"
        }
        NodeManager::YarnClassic => "yarn install --frozen-lockfile --production=false --non-interactive --no-progress",
        NodeManager::YarnModern { .. } => "yarn install --immutable",
        NodeManager::Pnpm { locked: true, .. } => "pnpm install --frozen-lockfile --prod=false --reporter=append-only",
        NodeManager::Pnpm { locked: false, .. } => {
            "pnpm install --no-frozen-lockfile --prod=false --reporter=append-only"
        }
    }
}

fn prune_command(manager: &NodeManager) -> &'static str {
    match manager {
        NodeManager::Npm { .. } => "npm prune --omit=dev --no-audit --no-fund --loglevel=error",
        NodeManager::YarnClassic => {
            "yarn install --frozen-lockfile --production=true --ignore-scripts --prefer-offline --non-interactive --no-progress"
        }
        NodeManager::YarnModern { .. } => "yarn workspaces focus --all --production",
        NodeManager::Pnpm { .. } => "pnpm prune --prod",
    }
}
