//! Routes and classes of `weir.toml`: what is wrong with them, and what they mean.

use std::collections::{BTreeMap, BTreeSet};

use super::reader::Findings;
use super::spec::check_span;
use super::types::{AppFile, ClassFile, RouteFile};
use super::values::shorten;
use crate::spec::{ClassSpec, MOST_CLASSES, ProcessSpec, RouteSpec};
use crate::{AppName, ClassName, ProcessName};

/// How many requests of a class wait for a place if nothing is said.
const QUEUE: u32 = 100;
/// Longest wait for a place if nothing is said, in seconds.
const QUEUE_TIMEOUT_S: u32 = 30;
/// Most methods of a route.
const METHODS: usize = 16;

impl RouteFile {
    /// The path without `/*` at its end, which says the same.
    fn prefix(&self) -> &str {
        match self.path.strip_suffix("/*") {
            Some("") => "/",
            Some(prefix) => prefix,
            None => &self.path,
        }
    }

    /// None where a name is wrong; [`check`] has said so.
    pub(super) fn spec(&self) -> Option<RouteSpec> {
        let process = self.process.as_deref().map(ProcessName::new).transpose().ok()?;
        Some(RouteSpec {
            path_prefix: self.prefix().to_owned(),
            process: process.unwrap_or_else(ProcessName::web),
            methods: self.methods.clone(),
            class: self.class.as_deref().map(ClassName::new).transpose().ok()?,
            protection: super::protection::of_route(self),
            cache: self.cache.unwrap_or(true),
        })
    }
}

/// The classes of a file.
pub(super) fn specs(classes: &BTreeMap<String, ClassFile>) -> BTreeMap<ClassName, ClassSpec> {
    let spec = |file: &ClassFile| ClassSpec {
        concurrency: file.concurrency,
        queue: file.queue.unwrap_or(QUEUE),
        queue_timeout_s: file.queue_timeout.map_or(QUEUE_TIMEOUT_S, |timeout| timeout.seconds),
        request_timeout_s: file.request_timeout.map(|timeout| timeout.seconds),
    };
    let named = classes
        .iter()
        .filter_map(|(name, file)| Some((ClassName::new(name).ok()?, spec(file))));
    named.collect()
}

/// Checks routes and classes, each for itself.
pub(super) fn check(app: &AppFile, at: &str, findings: &mut Findings) {
    for (index, route) in app.route.iter().enumerate() {
        check_route(
            route,
            &app.route[..index],
            &format!("{at}route.{}", index + 1),
            findings,
        );
    }
    if app.class.len() > MOST_CLASSES {
        findings.at(
            &format!("{at}class"),
            format!("there are more than {MOST_CLASSES} classes"),
        );
    }
    for (name, class) in &app.class {
        let at = format!("{at}class.{name}");
        if let Err(error) = ClassName::new(name) {
            findings.at(&at, error.to_string());
        }
        check_span(class.queue_timeout, 1, 3600, &format!("{at}.queue_timeout"), findings);
        check_span(
            class.request_timeout,
            1,
            3600,
            &format!("{at}.request_timeout"),
            findings,
        );
    }
}

fn check_route(route: &RouteFile, earlier: &[RouteFile], at: &str, findings: &mut Findings) {
    let path = route.prefix();
    if !path.starts_with('/')
        || path.len() > 200
        || path.contains(['?', '#', ' ', '*'])
        || path.chars().any(char::is_control)
    {
        findings.at(
            at,
            format!(
                "the path of a route begins with / and has no query, and a * only as /* at its end: `{}`",
                shorten(&route.path)
            ),
        );
    }
    let overlap = |other: &&RouteFile| {
        other.prefix() == path
            && (other.methods.is_empty() == route.methods.is_empty())
            && (route.methods.is_empty() || route.methods.iter().any(|method| other.methods.contains(method)))
    };
    if earlier.iter().any(|other| overlap(&other)) {
        let which = if route.methods.is_empty() {
            ""
        } else {
            " with the same method"
        };
        findings.at(at, format!("there are two routes for {}{which}", shorten(path)));
    }
    if let Some(Err(error)) = route.process.as_deref().map(ProcessName::new) {
        findings.at(at, error.to_string());
    }
    if let Some(Err(error)) = route.class.as_deref().map(ClassName::new) {
        findings.at(at, error.to_string());
    }
    let is_method = |method: &String| {
        (1..=20).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    };
    if route.methods.len() > METHODS || !route.methods.iter().all(is_method) {
        findings.at(
            &format!("{at}.methods"),
            format!("`methods` are at most {METHODS} names in capitals, like [\"POST\", \"PUT\"]"),
        );
    }
}

/// What does not fit together of routes, classes and processes, in lines for people.
pub(super) fn misfits(
    app: &AppName,
    routes: &[RouteSpec],
    classes: &BTreeMap<String, ClassFile>,
    processes: &BTreeMap<ProcessName, ProcessSpec>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut used: BTreeMap<&ProcessName, BTreeSet<&ClassName>> = BTreeMap::new();
    for route in routes {
        let Some(class) = &route.class else { continue };
        used.entry(&route.process).or_default().insert(class);
        if !classes.contains_key(class.as_str()) {
            let known: Vec<&str> = classes.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            problems.push(format!(
                "app `{app}`: the route {} is of the class `{class}`, which does not exist; there is: {known}. Add [class.{class}] with its `concurrency`",
                route.path_prefix
            ));
        }
    }
    let is_used = |name: &str| used.values().flatten().any(|class| class.as_str() == name);
    problems.extend(classes.keys().filter(|name| !is_used(name)).map(|name| {
        format!("app `{app}`: no route is of the class `{name}`; add `class = \"{name}\"` to a [[route]], or remove [class.{name}]")
    }));
    for (process, classes_of_it) in used {
        let Some(spec) = processes.get(process) else { continue };
        let reserved: u64 = classes_of_it
            .iter()
            .filter_map(|class| classes.get(class.as_str()))
            .map(|class| u64::from(class.concurrency))
            .sum();
        if reserved >= u64::from(spec.concurrency) {
            problems.push(format!(
                "app `{app}`: the classes of `{process}` take {reserved} of its {} requests at once, which leaves none for all others; raise `concurrency` in [process.{process}], or lower it in the classes",
                spec.concurrency
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::spec::Detected;
    use super::super::types::ProjectFile;
    use super::*;

    fn spec(text: &str) -> Result<crate::spec::AppSpec, String> {
        let file = ProjectFile::parse(text).map_err(|problems| problems.to_string())?;
        let app = AppName::new("shop").unwrap();
        let detected = Detected {
            commands: BTreeMap::from([(ProcessName::web(), None)]),
            port: None,
        };
        let spec = file.apps(&app).remove(&app).unwrap().spec(app, &detected);
        spec.map_err(|problems| problems.join("\n"))
    }

    const HEAVY: &str =
        "[class.heavy]\nconcurrency = 4\nqueue = 50\nqueue_timeout = \"10s\"\nrequest_timeout = \"300s\"\n";

    #[test]
    fn a_class_of_requests_is_read() {
        let text = format!("{HEAVY}[[route]]\npath = \"/upload/*\"\nclass = \"heavy\"\nmethods = [\"POST\"]\n");
        let spec = spec(&text).unwrap();
        let route = &spec.routes[0];
        assert_eq!((route.path_prefix.as_str(), route.process.as_str()), ("/upload", "web"));
        assert_eq!(route.methods, ["POST"]);
        let heavy = &spec.classes[route.class.as_ref().unwrap()];
        assert_eq!((heavy.concurrency, heavy.queue, heavy.queue_timeout_s), (4, 50, 10));
        assert_eq!(heavy.request_timeout_s, Some(300));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let refused = |text: &str, words: &str| {
            let told = spec(text).unwrap_err();
            assert!(told.contains(words), "{told}");
        };
        let route = "[[route]]\npath = \"/upload\"\nclass = \"heavy\"\n";
        refused(route, "the class `heavy`, which does not exist; there is: none");
        refused(HEAVY, "no route is of the class `heavy`");
        refused(
            &format!("{HEAVY}{route}[process.web]\nconcurrency = 4\n"),
            "take 4 of its 4 requests at once, which leaves none",
        );
        refused(
            "[class.default]\nconcurrency = 1\n",
            "that is what requests without a class have",
        );
        refused(
            &format!("{HEAVY}{route}[[route]]\npath = \"/upload/*\"\n"),
            "there are two routes for /upload",
        );
        refused(&format!("{HEAVY}{route}methods = [\"post\"]\n"), "names in capitals");
        refused("[[route]]\npath = \"/a*b\"\n", "a * only as /* at its end");
    }

    #[test]
    fn routes_for_different_methods_may_share_a_path() {
        let text = format!(
            "{HEAVY}[[route]]\npath = \"/upload\"\nclass = \"heavy\"\nmethods = [\"POST\"]\n[[route]]\npath = \"/upload\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/upload\"\n"
        );
        assert_eq!(spec(&text).unwrap().routes.len(), 3);
    }
}
