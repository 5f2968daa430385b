//! `[process.NAME.scaling]`: what it means, and what does not fit together.

use super::reader::Findings;
use super::spec::check_span;
use super::types::{IdleFile, ProcessFile, ScalingFile};
use crate::scaling::{Idle, InstanceRange, Scaling};
use crate::spec::AppSpec;

/// Concurrency of a process that says nothing of it.
const USUAL_CONCURRENCY: u32 = 20;
/// Longest time without a request, in seconds: a month.
const LONGEST_QUIET_S: u32 = 31 * 24 * 3600;

impl ScalingFile {
    pub(super) fn spec(&self) -> Scaling {
        let default = Scaling::default();
        let idle = match self.idle {
            Some(IdleFile::Freeze) => Idle::Freeze,
            Some(IdleFile::Stop) => Idle::Stop,
            Some(IdleFile::Never) | None => Idle::Never,
        };
        Scaling {
            range: self.max.map(|max| InstanceRange {
                min: self.min.unwrap_or(1).min(max),
                max,
            }),
            target: self.target,
            idle,
            idle_after_s: self.idle_after.map_or(default.idle_after_s, |span| span.seconds),
        }
    }
}

/// Checks of one process alone.
pub(super) fn check(process: &ProcessFile, at: &str, findings: &mut Findings) {
    let Some(scaling) = &process.scaling else { return };
    let at = format!("{at}.scaling");
    if scaling.max.is_some() && process.instances.is_some() {
        findings.at(
            &format!("{at}.max"),
            "`instances` is a fixed number and `scaling.max` a moving one; keep one of them",
        );
    }
    if scaling.max.is_none() {
        for (key, there) in [("min", scaling.min.is_some()), ("target", scaling.target.is_some())] {
            if there {
                findings.at(
                    &format!("{at}.{key}"),
                    format!("`{key}` is for a moving number of instances; add `max`, the most of them"),
                );
            }
        }
    }
    if let (Some(min), Some(max)) = (scaling.min, scaling.max)
        && min > max
    {
        findings.at(
            &format!("{at}.min"),
            format!("`min` ({min}) is more than `max` ({max})"),
        );
    }
    if scaling.min == Some(0) && matches!(scaling.idle, Some(IdleFile::Never | IdleFile::Freeze)) {
        findings.at(
            &format!("{at}.min"),
            "`min = 0` means that all instances are stopped while nobody asks for them; say `idle = \"stop\"`, or take `min = 1`",
        );
    }
    let concurrency = process.concurrency.unwrap_or(USUAL_CONCURRENCY);
    if let Some(target) = scaling.target.filter(|target| *target > concurrency) {
        findings.at(
            &format!("{at}.target"),
            format!(
                "`target` ({target}) is more than an instance gets at once; take at most {concurrency}, or raise `concurrency`"
            ),
        );
    }
    check_span(
        scaling.idle_after,
        1,
        LONGEST_QUIET_S,
        &format!("{at}.idle_after"),
        findings,
    );
}

/// What does not fit together in an app as a whole, in lines for people.
pub(super) fn misfits(app: &AppSpec) -> Vec<String> {
    let mut misfits = Vec::new();
    for (name, process) in &app.processes {
        let scaling = &process.scaling;
        let moves = scaling.range.is_some() || scaling.idle != Idle::Never;
        if moves && !app.is_routed(name) {
            misfits.push(format!(
                "app `{}`: the process `{name}` cannot scale or sleep by its requests, because no route leads to it; \
                 take `instances`, or add a [[route]]",
                app.name
            ));
        }
        if app.is_exclusive() && scaling.range.is_some_and(|range| range.max > 1) {
            misfits.push(format!(
                "app `{}`: the process `{name}` can have one instance at most, because a volume admits one writer; \
                 take `max = 1`, or `writers = \"many\"` if the app can share the volume",
                app.name
            ));
        }
    }
    misfits
}

#[cfg(test)]
mod tests {
    use crate::files::{Detected, ProjectFile};
    use crate::scaling::{Idle, InstanceRange};
    use crate::spec::AppSpec;
    use crate::{AppName, ProcessName};

    fn spec(text: &str) -> Result<AppSpec, String> {
        let file = ProjectFile::parse(text).map_err(|problems| problems.to_string())?;
        let apps = file.apps(&AppName::new("shop").unwrap());
        let (name, app) = apps.iter().next().unwrap();
        app.spec(name.clone(), &Detected::default())
            .map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn a_moving_number_is_read() {
        let text = "[process.web]\n[process.web.scaling]\nmin = 0\nmax = 4\ntarget = 3\nidle_after = \"1m\"\n";
        let app = spec(text).unwrap();
        let scaling = &app.processes[&ProcessName::web()].scaling;
        assert_eq!(scaling.range, Some(InstanceRange { min: 0, max: 4 }));
        assert_eq!((scaling.target, scaling.idle_after_s), (Some(3), 60));
        let bounds = app.bounds(&ProcessName::web(), &[]);
        assert_eq!((bounds.idle, bounds.words().as_str()), (Idle::Stop, "0..4"));
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        for (text, words) in [
            (
                "[process.web]\ninstances = 2\n[process.web.scaling]\nmax = 4\n",
                "keep one of them",
            ),
            ("[process.web.scaling]\nmin = 2\n", "add `max`"),
            ("[process.web.scaling]\nmin = 5\nmax = 4\n", "more than `max`"),
            (
                "[process.web.scaling]\nmin = 0\nmax = 4\nidle = \"freeze\"\n",
                "idle = \"stop\"",
            ),
            ("[process.web.scaling]\nmax = 4\ntarget = 21\n", "at most 20"),
            ("[process.web.scaling]\nidle_after = \"0s\"\n", "idle_after"),
            (
                "[process.web]\n[process.worker.scaling]\nmax = 4\n",
                "no route leads to it",
            ),
            (
                "[process.web.scaling]\nmax = 4\n[volume.data]\npath = \"/data\"\n",
                "a volume admits one writer",
            ),
        ] {
            let said = spec(text).unwrap_err();
            assert!(said.contains(words), "{said:?} does not say {words:?}");
        }
    }
}
