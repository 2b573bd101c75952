//! The daemon: one process that keeps the folders of a home in sync and answers commands.
//!
//! Owns its start and stop: connection, account, folder engines with their watches, control socket
//! and, where there is one, the embedded server. All its tasks are started by [`Daemon::start`] and
//! end with [`Daemon::stop`]. It must not know a terminal: what is printed is the command line's.

pub mod account;
mod admission;
mod commands;
mod conflict_commands;
mod connection;
pub mod control;
pub mod embedded;
pub mod enrolment;
mod environment;
mod failure;
mod folder_commands;
mod folders;
mod history_commands;
mod label_commands;
mod paths;
pub mod roots;
mod shared;
mod summaries;
#[cfg(test)]
mod tests;
mod times;
pub mod traces;

pub use environment::SystemEnvironment;

use crate::context::Environment;
use crate::home::{Home, HomeLock};
use crate::remote::{QuicRemote, Server};
use account::Account;
use commands::Control;
use control::{ControlSocket, Failure, FolderArgument, FolderProgress, InviteAnswer};
use embedded::Embedded;
use shared::{Shared, SharedParts, blocking};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Time for goodbyes to the server.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(3);

/// A running daemon.
pub struct Daemon {
    shared: Arc<Shared>,
    control: ControlSocket,
    keepers: Vec<JoinHandle<()>>,
    embedded: Option<Embedded>,
    _lock: HomeLock,
}

impl Daemon {
    /// Starts a daemon on an enrolled home, with its embedded server if that runs already. Commands
    /// are answered from when it returns.
    ///
    /// # Errors
    /// When the home is not enrolled or is damaged, or its control socket cannot be made. A server
    /// that cannot be reached is no error.
    pub async fn start(
        home: Home,
        lock: HomeLock,
        embedded: Option<Embedded>,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, Failure> {
        home.create()?;
        let opened = home.clone();
        let (config, account, pins) = blocking(move || {
            let config = opened.config()?;
            Ok::<_, Failure>((config, Account::load(&opened)?, opened.pins()?))
        })
        .await?;
        let stored = || Server {
            addresses: config.server.addresses.clone(),
            cluster: config.server.cluster,
        };
        let (local, advertised) = match &embedded {
            Some(embedded) => (embedded.local(), embedded.advertised()),
            None => (stored(), stored()),
        };
        if advertised.cluster != config.server.cluster {
            return Err(Failure::new(
                "wrong_server",
                "the server of this home has another key than the one that this device joined",
                "put HOME/server/server.key back from a backup",
            ));
        }
        let remote = Arc::new(QuicRemote::new(local, &account.device_keys().signing));
        let parts = SharedParts { home, config, account, pins, remote, advertised, environment };
        let shared = Arc::new(Shared::new(parts));
        // Before anybody can ask: a folder whose engine is still to come is not in sync.
        shared.start_folders().await;
        let commands = Arc::new(Control(Arc::clone(&shared)));
        let control = match ControlSocket::bind(&shared.home, commands) {
            Ok(control) => control,
            Err(error) => {
                shared.stop_folders().await;
                return Err(error.into());
            }
        };
        let keepers = vec![
            tokio::spawn(connection::keep(Arc::clone(&shared))),
            tokio::spawn(connection::keep_folders(Arc::clone(&shared))),
        ];
        Ok(Self { shared, control, keepers, embedded, _lock: lock })
    }

    /// A join code for another device and the only folder, or the named one.
    ///
    /// # Errors
    /// [`Failure`], when the server cannot be reached or refuses.
    pub async fn invite(
        &self,
        folder: Option<&str>,
        life_ms: u64,
    ) -> Result<InviteAnswer, Failure> {
        let folder = FolderArgument { name: folder.map(str::to_owned), directory: None };
        commands::invite(&self.shared, &folder, life_ms).await
    }

    /// How far each folder is.
    #[must_use]
    pub fn progress(&self) -> Vec<FolderProgress> {
        let handles = self.shared.handles();
        handles
            .iter()
            .map(|(folder, handle)| summaries::progress(folder, &self.shared.shown(handle)))
            .collect()
    }

    /// Stops everything in good order: no new commands, engines at the end of their step, then the
    /// connection, then the embedded server. What was acknowledged is on the disk whatever happens.
    pub async fn stop(self) {
        let Self { shared, control, keepers, embedded, _lock } = self;
        control.close().await;
        for keeper in keepers {
            keeper.abort();
        }
        shared.stop_folders().await;
        if tokio::time::timeout(GOODBYE_TIME_MAX, shared.remote.close()).await.is_err() {
            tracing::debug!("the connection did not end in time");
        }
        if let Some(embedded) = embedded {
            embedded.stop().await;
        }
    }
}
