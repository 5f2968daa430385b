//! Money for builds: what a build reserves of the machine is paid ahead, slice by slice, and the
//! build ends when there is no money for the next one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_ledger::Sku;
use weir_ledger::wallet::{Draw, NoMoney, Till, Urgency};
use weir_model::{AppName, EnvironmentId};

use super::Money;

/// So much is paid at a time.
const SLICE: Duration = Duration::from_secs(30);
/// The next slice is paid so long before the last one ends; so long it may take.
const AHEAD: Duration = Duration::from_secs(5);
/// Longest wait for the ledger before a build begins.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pays for the builds of one app.
#[derive(Debug, Clone)]
pub struct BuildBudget {
    till: Arc<Till>,
    cpu_milli: u32,
    memory_bytes: u64,
}

/// What a slice has drawn.
#[derive(Debug)]
struct Slice {
    cpu: Draw,
    memory: Draw,
}

impl Money {
    /// Pays for builds of an app that reserve so many thousandths of a core and bytes.
    pub fn build_budget(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        cpu_milli: u32,
        memory_bytes: u64,
    ) -> BuildBudget {
        BuildBudget {
            till: self.wallets().till(environment, Some(app), None),
            cpu_milli,
            memory_bytes,
        }
    }
}

impl BuildBudget {
    /// Does work that begins once its first 30 s are paid, and is dropped when there is no money
    /// for its next: then it fails with the reason. What of the last slice was not used goes
    /// back. Dropped itself, it counts the slice that runs as used.
    pub async fn pay_for<T>(&self, work: impl Future<Output = T>) -> Result<T, NoMoney> {
        tokio::pin!(work);
        let mut paid = self.buy(PATIENCE).await?;
        let mut begun = Instant::now();
        loop {
            let ends = begun + SLICE;
            tokio::select! {
                result = &mut work => {
                    paid.finish(self, begun.elapsed());
                    return Ok(result);
                }
                () = tokio::time::sleep_until(ends - AHEAD) => {}
            }
            // The work goes on while the next slice is bought, at most to the end of this one.
            let next = {
                let buying = self.buy(AHEAD);
                tokio::pin!(buying);
                tokio::select! {
                    result = &mut work => {
                        paid.finish(self, begun.elapsed());
                        return Ok(result);
                    }
                    next = &mut buying => next?,
                    () = tokio::time::sleep_until(ends) => return Err(NoMoney::CutOff),
                }
            };
            tokio::select! {
                result = &mut work => {
                    paid.finish(self, begun.elapsed());
                    next.finish(self, Duration::ZERO);
                    return Ok(result);
                }
                () = tokio::time::sleep_until(ends) => {}
            }
            paid.finish(self, SLICE);
            (paid, begun) = (next, ends);
        }
    }

    /// Draws a slice; waits for the ledger at most so long.
    async fn buy(&self, at_most: Duration) -> Result<Slice, NoMoney> {
        let deadline = Instant::now() + at_most;
        let wanted = [
            (&Sku::BUILD_CPU, self.cpu_units(SLICE)),
            (&Sku::BUILD_MEMORY, self.memory_units(SLICE)),
        ];
        loop {
            if let Ok([cpu, memory]) = self.till.draw_together(0, Urgency::Request, wanted) {
                return Ok(Slice { cpu, memory });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.till.trouble().unwrap_or(NoMoney::CutOff));
            }
            self.till.wait_together(Urgency::Request, wanted, left).await?;
        }
    }

    /// Millionths of a second of one core.
    fn cpu_units(&self, time: Duration) -> u64 {
        milliseconds(time).saturating_mul(u64::from(self.cpu_milli))
    }

    /// Bytes for a millisecond.
    fn memory_units(&self, time: Duration) -> u64 {
        milliseconds(time).saturating_mul(self.memory_bytes)
    }
}

impl Slice {
    /// So much of it was used.
    fn finish(self, budget: &BuildBudget, used: Duration) {
        self.cpu.finish(budget.cpu_units(used));
        self.memory.finish(budget.memory_units(used));
    }
}

/// Rounded up.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}
