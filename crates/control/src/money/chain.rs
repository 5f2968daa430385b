//! The rows of the journal, each of which vouches for all before it.

use weir_ledger::audit::chain_hash;
use weir_ledger::book::Event;
use weir_store::JournalRow;

/// The next row of the journal.
pub(super) fn link(sequence: i64, previous_hash: &str, event: &Event) -> Result<JournalRow, serde_json::Error> {
    let body = serde_json::to_string(event)?;
    Ok(JournalRow {
        sequence,
        at_ms: event.at_ms,
        hash: chain_hash(previous_hash, sequence, &body),
        previous_hash: previous_hash.to_owned(),
        body,
    })
}

/// Reads a row back, once it is proven to follow the one before. Fails with what is wrong.
pub(super) fn read(row: &JournalRow, sequence: i64, previous_hash: &str) -> Result<Event, String> {
    if row.sequence != sequence {
        return Err(format!("row {sequence} of the journal is missing"));
    }
    if row.previous_hash != previous_hash {
        return Err(format!(
            "row {sequence} of the journal does not follow the row before it"
        ));
    }
    if row.hash != chain_hash(previous_hash, sequence, &row.body) {
        return Err(format!("row {sequence} of the journal was changed"));
    }
    let event: Event = serde_json::from_str(&row.body)
        .map_err(|error| format!("row {sequence} of the journal cannot be understood: {error}"))?;
    if event.at_ms != row.at_ms {
        return Err(format!("row {sequence} of the journal was changed: its instant"));
    }
    Ok(event)
}
