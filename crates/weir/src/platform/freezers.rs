//! The freezers of containers, for the ingress: it puts instances to sleep that nobody asks
//! anything of, and wakes them, without asking the engine.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use weir_engine::Meters;
use weir_engine::docker::{DockerMeters, FreezerState, KernelFreezer};
use weir_ingress::{Found, Freezer, Freezers, Standing};
use weir_model::InstanceId;

/// The freezers of one installation. There are none before its name is known.
#[derive(Debug, Default)]
pub(crate) struct ContainerFreezers {
    meters: OnceLock<Arc<DockerMeters>>,
}

impl ContainerFreezers {
    /// From now on there are some.
    pub(crate) fn open(&self, meters: Arc<DockerMeters>) {
        // The name of an installation never changes.
        let _opened = self.meters.set(meters);
    }
}

impl Freezers for ContainerFreezers {
    fn find(&self, instance: InstanceId) -> Found<'_, Option<Arc<dyn Freezer>>> {
        Box::pin(async move {
            let point = self.meters.get()?.freeze_point(instance).await?;
            let freezer = KernelFreezer::at(&point)?;
            Some(Arc::new(ContainerFreezer(freezer)) as Arc<dyn Freezer>)
        })
    }

    fn went_on(&self, instance: InstanceId) -> Found<'_, ()> {
        Box::pin(async move {
            let Some(meters) = self.meters.get() else { return };
            if let Err(error) = meters.thaw(instance).await {
                tracing::debug!(instance.id = %instance, %error, "the engine was not told that an instance goes on");
            }
        })
    }
}

#[derive(Debug)]
struct ContainerFreezer(KernelFreezer);

impl Freezer for ContainerFreezer {
    fn freeze(&self) -> io::Result<()> {
        self.0.freeze()
    }

    fn thaw(&self) -> io::Result<()> {
        self.0.thaw()
    }

    fn standing(&self) -> io::Result<Standing> {
        Ok(match self.0.state()? {
            FreezerState::Thawed => Standing::Thawed,
            FreezerState::Freezing => Standing::Freezing,
            FreezerState::Frozen => Standing::Frozen,
        })
    }

    fn has_callers(&self, port: u16, except: &[IpAddr]) -> io::Result<bool> {
        self.0.has_callers(port, except)
    }
}
