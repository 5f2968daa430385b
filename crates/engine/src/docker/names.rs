//! What things are called in the engine, and the labels that say what they are. Everything
//! that is known of a container later is read back from here.

use std::collections::HashMap;

use weir_model::{AppName, EnvironmentId, InstanceId, VolumeName};

use crate::{InstanceLabels, InstanceRole};

/// The label that every container, network and volume of a Weir carries.
pub(super) const INSTALLATION: &str = "weir.installation";
const INSTANCE: &str = "weir.instance";
const ROLE: &str = "weir.role";
/// The environment that something belongs to.
pub(super) const ENVIRONMENT: &str = "weir.environment";
const APP: &str = "weir.app";
const PROCESS: &str = "weir.process";
const RELEASE: &str = "weir.release";
const DEPLOYMENT: &str = "weir.deployment";
const PORT: &str = "weir.port";
const VOLUME: &str = "weir.volume";

/// The container of an instance.
pub(super) fn container(installation: &str, instance: InstanceId) -> String {
    format!("weir-{installation}-{instance}")
}

/// The network of an environment.
pub(super) fn network(installation: &str, environment: EnvironmentId) -> String {
    format!("weir-{installation}-{environment}")
}

/// A volume.
pub(super) fn volume(installation: &str, environment: EnvironmentId, app: &AppName, volume: &VolumeName) -> String {
    format!("weir-{installation}-{environment}-{app}-{volume}")
}

/// What the bridges of a Weir begin with, so that one firewall rule matches all of them:
/// `w`, four characters of the installation, `-`.
pub(super) fn bridge_prefix(installation: &str) -> String {
    format!("w{}-", installation.chars().take(4).collect::<String>())
}

/// The bridge of an environment: 15 characters at most, which is the kernel's limit.
pub(super) fn bridge(installation: &str, environment: EnvironmentId) -> String {
    let mut hash = fnv1a(environment.to_string().as_bytes());
    let mut name = bridge_prefix(installation);
    for _ in 0..9 {
        let digit = u32::try_from(hash % 32).unwrap_or(0);
        name.push(char::from_digit(digit, 32).unwrap_or('0'));
        hash /= 32;
    }
    name
}

/// FNV-1a: spreads names over a small range; nothing depends on it being hard to invert.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The labels of a container.
pub(super) fn instance_labels(installation: &str, labels: &InstanceLabels) -> HashMap<String, String> {
    let mut map = HashMap::from([
        (INSTALLATION.to_owned(), installation.to_owned()),
        (INSTANCE.to_owned(), labels.instance.to_string()),
        (ROLE.to_owned(), role_word(labels.role).to_owned()),
        (ENVIRONMENT.to_owned(), labels.environment.to_string()),
        (APP.to_owned(), labels.app.to_string()),
        (PROCESS.to_owned(), labels.process.to_string()),
        (RELEASE.to_owned(), labels.release.to_string()),
        (DEPLOYMENT.to_owned(), labels.deployment.to_string()),
    ]);
    if let Some(port) = labels.port {
        map.insert(PORT.to_owned(), port.to_string());
    }
    map
}

/// Reads the labels of a container back; `None` if somebody else made it or changed them.
pub(super) fn read_instance_labels(labels: &HashMap<String, String>) -> Option<InstanceLabels> {
    Some(InstanceLabels {
        instance: labels.get(INSTANCE)?.parse().ok()?,
        role: match labels.get(ROLE)?.as_str() {
            "instance" => InstanceRole::Instance,
            "release" => InstanceRole::Release,
            "run" => InstanceRole::Run,
            _ => return None,
        },
        environment: labels.get(ENVIRONMENT)?.parse().ok()?,
        app: labels.get(APP)?.parse().ok()?,
        process: labels.get(PROCESS)?.parse().ok()?,
        release: labels.get(RELEASE)?.parse().ok()?,
        deployment: labels.get(DEPLOYMENT)?.parse().ok()?,
        port: match labels.get(PORT) {
            Some(port) => Some(port.parse().ok()?),
            None => None,
        },
    })
}

/// The labels of a network.
pub(super) fn network_labels(installation: &str, environment: EnvironmentId) -> HashMap<String, String> {
    HashMap::from([
        (INSTALLATION.to_owned(), installation.to_owned()),
        (ENVIRONMENT.to_owned(), environment.to_string()),
    ])
}

/// The labels of a volume.
pub(super) fn volume_labels(
    installation: &str,
    environment: EnvironmentId,
    app: &AppName,
    volume: &VolumeName,
) -> HashMap<String, String> {
    let mut labels = network_labels(installation, environment);
    labels.insert(APP.to_owned(), app.to_string());
    labels.insert(VOLUME.to_owned(), volume.to_string());
    labels
}

/// Reads the labels of a volume back.
pub(super) fn read_volume_labels(labels: &HashMap<String, String>) -> Option<(EnvironmentId, AppName, VolumeName)> {
    Some((
        labels.get(ENVIRONMENT)?.parse().ok()?,
        labels.get(APP)?.parse().ok()?,
        labels.get(VOLUME)?.parse().ok()?,
    ))
}

fn role_word(role: InstanceRole) -> &'static str {
    match role {
        InstanceRole::Instance => "instance",
        InstanceRole::Release => "release",
        InstanceRole::Run => "run",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::{DeploymentId, ProcessName, ReleaseId};

    #[test]
    fn labels_read_back_as_they_were_written() {
        let labels = InstanceLabels {
            instance: InstanceId::from_parts(1, 2),
            role: InstanceRole::Release,
            environment: EnvironmentId::from_parts(3, 4),
            app: AppName::new("shop").unwrap(),
            process: ProcessName::web(),
            release: ReleaseId::from_parts(5, 6),
            deployment: DeploymentId::from_parts(7, 8),
            port: Some(8000),
        };
        assert_eq!(read_instance_labels(&instance_labels("ab12", &labels)), Some(labels));
        assert_eq!(read_instance_labels(&HashMap::new()), None);
    }

    #[test]
    fn bridges_differ_and_fit_the_kernel() {
        let first = bridge("ab12cd34", EnvironmentId::from_parts(1, 1));
        let second = bridge("ab12cd34", EnvironmentId::from_parts(1, 2));
        assert_ne!(first, second);
        assert!(first.len() <= 15 && first.starts_with("wab12-"), "{first}");
    }
}
