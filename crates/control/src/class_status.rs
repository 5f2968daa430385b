//! What goes on in the classes of a process's requests: what `weir.toml` gives each of them,
//! beside what the nodes say.

use std::collections::BTreeMap;

use weir_api::ClassStatus;
use weir_model::route::ClassLoad;
use weir_model::spec::AppSpec;
use weir_model::{ClassName, ProcessName};

/// The classes of a process, the default one first; none where it has no classes.
pub(crate) fn of_process(spec: &AppSpec, process: &ProcessName, loads: &[ClassLoad]) -> Vec<ClassStatus> {
    let Some(process_spec) = spec.processes.get(process) else {
        return Vec::new();
    };
    let routes = spec.routes.iter().filter(|route| route.process == *process);
    let used: BTreeMap<&ClassName, u32> = routes
        .filter_map(|route| route.class.as_ref())
        .filter_map(|class| Some((class, spec.classes.get(class)?.concurrency)))
        .collect();
    if used.is_empty() {
        return Vec::new();
    }
    let target = format!("{}.{process}", spec.name);
    let status = |class: &str, concurrency: u32| {
        let load = loads.iter().find(|load| load.target == target && load.class == class);
        let load = load.cloned().unwrap_or_default();
        ClassStatus {
            class: class.to_owned(),
            concurrency,
            in_flight: load.in_flight,
            waiting: load.waiting,
            refused_full: load.refused_full,
            refused_late: load.refused_late,
        }
    };
    let left = process_spec.concurrency.saturating_sub(used.values().sum());
    let rest = status("default", left);
    let named = used
        .iter()
        .map(|(class, concurrency)| status(class.as_str(), *concurrency));
    std::iter::once(rest).chain(named).collect()
}

#[cfg(test)]
mod tests {
    use weir_model::AppName;
    use weir_model::files::{Detected, ProjectFile};

    use super::*;

    #[test]
    fn limits_stand_beside_what_the_nodes_say() {
        let text = "[process.web]\ncommand = \"serve\"\n[class.heavy]\nconcurrency = 4\n[[route]]\npath = \"/upload/*\"\nclass = \"heavy\"\n[process.worker]\ncommand = \"work\"\n";
        let app = AppName::new("shop").unwrap();
        let file = ProjectFile::parse(text).unwrap().apps(&app).remove(&app).unwrap();
        let spec = file.spec(app, &Detected::default()).unwrap();
        let load = ClassLoad {
            target: "shop.web".to_owned(),
            class: "heavy".to_owned(),
            in_flight: 4,
            places: 4,
            waiting: 7,
            refused_full: 2,
            refused_late: 1,
        };
        let classes = of_process(&spec, &ProcessName::web(), &[load]);
        let told: Vec<_> = classes
            .iter()
            .map(|class| (class.class.as_str(), class.concurrency, class.in_flight, class.waiting))
            .collect();
        assert_eq!(told, [("default", 16, 0, 0), ("heavy", 4, 4, 7)]);
        assert_eq!((classes[1].refused_full, classes[1].refused_late), (2, 1));
        assert!(of_process(&spec, &ProcessName::new("worker").unwrap(), &[]).is_empty());
    }
}
