//! What the folder is set to, as the journal or a snapshot told.
//!
//! Owns where that is stored. It must not know what the settings mean.

use super::{FolderState, StateError};
use common::record::StandingSettings;

const SETTINGS: &str = "settings";

impl FolderState {
    /// What the folder is set to; `None` when it never was.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn settings(&self) -> Result<Option<StandingSettings>, StateError> {
        let Some(bytes) = self.meta(SETTINGS)? else { return Ok(None) };
        let settings = StandingSettings::from_bytes(&bytes);
        settings.map(Some).map_err(|_| StateError::Corrupt { what: "folder's settings" })
    }

    /// Stores what the folder is set to. In the transaction of what was read up to there.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_settings(&self, standing: Option<&StandingSettings>) -> Result<(), StateError> {
        match standing {
            Some(standing) => self.set_meta(SETTINGS, &standing.to_bytes()),
            None => self.clear_meta(SETTINGS),
        }
    }
}
