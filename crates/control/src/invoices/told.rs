//! Contacts are told of every document that has become final, with the paper itself.
//!
//! How far that is done is kept by the instant in which documents became final. After a restart
//! those of the last day are handed in again; a contact gets the same notice once.

use std::collections::BTreeSet;

use weir_model::InvoiceId;

use super::shown;
use crate::api::ApiError;
use crate::billing;
use crate::context::Context;

/// Where it is kept how far was told.
const TOLD: &str = "invoices.told";
/// Looked at again, because a clock may have gone back; notices are remembered for longer.
const AGAIN_MS: i64 = 86_400_000;

/// Has contacts told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Of those that are looked at: what was handed in since the start.
    documents: BTreeSet<InvoiceId>,
}

impl Told {
    /// Hands in what has become final since the last round.
    pub(super) async fn round(&mut self, context: &Context) -> Result<(), ApiError> {
        let store = &context.store;
        let kept = store.setting_get(TOLD).await?;
        let Some(told_ms) = kept.and_then(|text| text.parse::<i64>().ok()) else {
            // What was final before there was anybody to tell stays untold.
            let now_ms = context.clock.now_ms();
            return Ok(store.setting_set(TOLD, &now_ms.to_string()).await?);
        };
        let mut newest_ms = told_ms;
        let mut looked_at = BTreeSet::new();
        for invoice in store.invoice_list_final(told_ms.saturating_sub(AGAIN_MS)).await? {
            if !self.documents.contains(&invoice.id) {
                billing::invoice_final(context, &invoice, shown(&invoice)?).await?;
            }
            newest_ms = newest_ms.max(invoice.final_ms.unwrap_or(told_ms));
            looked_at.insert(invoice.id);
        }
        self.documents = looked_at;
        if newest_ms > told_ms {
            store.setting_set(TOLD, &newest_ms.to_string()).await?;
        }
        Ok(())
    }
}
