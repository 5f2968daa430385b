//! What every command needs: the streams and the client.

use crate::client::Client;
use crate::failure::Result;
use crate::output::Ui;

/// One run of the CLI.
#[derive(Debug)]
pub(crate) struct Session {
    /// What people and scripts see.
    pub(crate) ui: Ui,
}

impl Session {
    /// The client of the Weir that this is about.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::from_surroundings()
    }
}
