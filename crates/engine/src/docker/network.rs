//! One private bridge network an environment, and its volumes.
//!
//! The addresses are chosen here, not by the engine: its own pools hold about thirty networks,
//! a machine may carry hundreds of environments.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    InspectNetworkOptions, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions,
};
use weir_model::{AppName, EnvironmentId, VolumeName};

use crate::{EngineError, Network};

use super::{DockerEngine, errors, names};

/// First address of the range that networks are taken from: 10.64.0.0/10.
const RANGE_START: u32 = 0x0a40_0000;
/// Addresses a network, 1,022 of which can be instances: a `/22`.
const NETWORK_ADDRESSES: u32 = 1024;
/// How many networks the range holds.
const NETWORKS: u32 = 4096;
/// So many ranges are tried for a new network before the machine counts as full.
const ATTEMPTS: u32 = 256;

impl DockerEngine {
    /// The network of an environment, made if it is missing.
    pub(super) async fn ensure_network(&self, environment: EnvironmentId) -> Result<Network, EngineError> {
        let name = names::network(self.installation(), environment);
        if let Some(network) = self.find_network(&name).await? {
            return Ok(network);
        }
        let _one_at_a_time = self.shared.network_creation.lock().await;
        if let Some(network) = self.find_network(&name).await? {
            return Ok(network);
        }
        // The rules come first: no packet of the new network may pass without them.
        self.firewall_ensure().await;
        self.create_network(environment, &name).await
    }

    async fn find_network(&self, name: &str) -> Result<Option<Network>, EngineError> {
        match self
            .docker()
            .await?
            .inspect_network(name, None::<InspectNetworkOptions>)
            .await
        {
            Ok(found) => gateway_of(found.ipam.as_ref())
                .map(|gateway| Some(Network { gateway }))
                .ok_or_else(|| {
                    EngineError::Refused(format!(
                        "the network {name} has no gateway; remove it with `docker network rm`"
                    ))
                }),
            Err(error) if errors::is_gone(&error) => Ok(None),
            Err(error) => Err(errors::from_client(error)),
        }
    }

    async fn create_network(&self, environment: EnvironmentId, name: &str) -> Result<Network, EngineError> {
        let docker = self.docker().await?;
        let routes = host_routes();
        let hash = names::fnv1a(name.as_bytes());
        let first = u32::try_from(hash % u64::from(NETWORKS)).unwrap_or(0);
        for attempt in 0..ATTEMPTS {
            let start = RANGE_START + ((first + attempt) % NETWORKS) * NETWORK_ADDRESSES;
            if routes
                .iter()
                .any(|(route, mask)| start & mask == route & mask || route & !(NETWORK_ADDRESSES - 1) == start)
            {
                continue;
            }
            let gateway = Ipv4Addr::from(start + 1);
            let request = NetworkCreateRequest {
                name: name.to_owned(),
                driver: Some("bridge".to_owned()),
                ipam: Some(Ipam {
                    config: Some(vec![IpamConfig {
                        subnet: Some(format!("{}/22", Ipv4Addr::from(start))),
                        gateway: Some(gateway.to_string()),
                        ..Default::default()
                    }]),
                    ..Default::default()
                }),
                options: Some(HashMap::from([
                    (
                        "com.docker.network.bridge.name".to_owned(),
                        names::bridge(self.installation(), environment),
                    ),
                    ("com.docker.network.bridge.enable_icc".to_owned(), "true".to_owned()),
                ])),
                labels: Some(names::network_labels(self.installation(), environment)),
                ..Default::default()
            };
            match docker.create_network(request).await {
                Ok(_created) => {
                    return Ok(Network {
                        gateway: IpAddr::V4(gateway),
                    });
                }
                Err(error) if error.to_string().to_lowercase().contains("pool overlaps") => {}
                Err(error) => {
                    // Another process of this installation may have made it meanwhile.
                    return match self.find_network(name).await? {
                        Some(network) => Ok(network),
                        None => Err(errors::from_client(error)),
                    };
                }
            }
        }
        Err(EngineError::Exhausted(
            "no free range of addresses in 10.64.0.0/10 for another network".to_owned(),
        ))
    }

    /// Removes the network of an environment; fine if it is gone.
    pub(super) async fn remove_network(&self, environment: EnvironmentId) -> Result<(), EngineError> {
        let name = names::network(self.installation(), environment);
        match self.docker().await?.remove_network(&name).await {
            Ok(()) => Ok(()),
            Err(error) if errors::is_gone(&error) => Ok(()),
            Err(error) => Err(errors::from_client(error)),
        }
    }

    /// The networks of this Weir.
    pub(super) async fn list_networks(&self) -> Result<Vec<(EnvironmentId, Network)>, EngineError> {
        let options = ListNetworksOptionsBuilder::new().filters(&self.mine(None)).build();
        let networks = self
            .docker()
            .await?
            .list_networks(Some(options))
            .await
            .map_err(errors::from_client)?;
        Ok(networks
            .iter()
            .filter_map(|network| {
                let environment = network.labels.as_ref()?.get(names::ENVIRONMENT)?.parse().ok()?;
                Some((
                    environment,
                    Network {
                        gateway: gateway_of(network.ipam.as_ref())?,
                    },
                ))
            })
            .collect())
    }

    /// Removes a volume; fine if it is gone.
    pub(super) async fn remove_volume(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        volume: &VolumeName,
    ) -> Result<(), EngineError> {
        let name = names::volume(self.installation(), environment, app, volume);
        match self
            .docker()
            .await?
            .remove_volume(&name, None::<RemoveVolumeOptions>)
            .await
        {
            Ok(()) => Ok(()),
            Err(error) if errors::is_gone(&error) => Ok(()),
            Err(error) => Err(errors::from_client(error)),
        }
    }

    /// Where a volume is on this machine.
    pub(super) async fn folder_of_volume(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        volume: &VolumeName,
    ) -> Result<Option<PathBuf>, EngineError> {
        let name = names::volume(self.installation(), environment, app, volume);
        match self.docker().await?.inspect_volume(&name).await {
            // A volume of somebody else that has the name is not ours to look into.
            Ok(found) if names::read_volume_labels(&found.labels).is_some() => Ok(Some(found.mountpoint.into())),
            Ok(_) => Ok(None),
            Err(error) if errors::is_gone(&error) => Ok(None),
            Err(error) => Err(errors::from_client(error)),
        }
    }

    /// The volumes of this Weir.
    pub(super) async fn list_volumes(&self) -> Result<Vec<(EnvironmentId, AppName, VolumeName)>, EngineError> {
        let options = ListVolumesOptionsBuilder::new().filters(&self.mine(None)).build();
        let answer = self
            .docker()
            .await?
            .list_volumes(Some(options))
            .await
            .map_err(errors::from_client)?;
        Ok(answer
            .volumes
            .unwrap_or_default()
            .iter()
            .filter_map(|v| names::read_volume_labels(&v.labels))
            .collect())
    }

    /// The filter that finds what belongs to this Weir, and to one environment if named.
    pub(super) fn mine(&self, environment: Option<EnvironmentId>) -> HashMap<String, Vec<String>> {
        let mut labels = vec![format!("{}={}", names::INSTALLATION, self.installation())];
        if let Some(environment) = environment {
            labels.push(format!("{}={environment}", names::ENVIRONMENT));
        }
        HashMap::from([("label".to_owned(), labels)])
    }
}

fn gateway_of(ipam: Option<&Ipam>) -> Option<IpAddr> {
    ipam?
        .config
        .as_ref()?
        .iter()
        .find_map(|config| config.gateway.as_ref()?.parse().ok())
}

/// Where the machine itself sends packets, as (address, mask): a network must not hide any of
/// it. Empty where it cannot be read.
fn host_routes() -> Vec<(u32, u32)> {
    parse_routes(&std::fs::read_to_string("/proc/net/route").unwrap_or_default())
}

/// Reads `/proc/net/route`, whose numbers are in the byte order of the machine (little endian
/// wherever Docker runs). The default route hides nothing and is left out.
fn parse_routes(table: &str) -> Vec<(u32, u32)> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            Some((number(fields.get(1)?)?, number(fields.get(7)?)?))
        })
        .filter(|(_route, mask)| *mask != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_machine_are_read() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0000400A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(parse_routes(table), [(0x0a40_0000, 0xffff_0000)]);
    }
}
