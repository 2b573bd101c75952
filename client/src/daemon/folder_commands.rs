//! Adding, linking, listing and removing folders of a running daemon.
//!
//! Owns their order of steps: what a stop in between leaves is always a home that runs, and a
//! folder of the user that can be linked again.

use super::account;
use super::commands::done;
use super::control::{Answer, Failure, FolderAnswer, FoldersAnswer};
use super::enrolment::folder_name;
use super::paths::no_such_folder;
use super::roots;
use super::shared::{Shared, blocking};
use crate::home::{Config, FolderConfig};
use common::ids::FolderId;
use common::keys::check_label;
use common::limits::FOLDERS_PER_DEVICE_MAX;
use common::trust::TrustError;
use std::path::PathBuf;
use std::sync::Arc;

impl Shared {
    /// Makes a folder of a directory and starts it.
    pub(super) async fn add_folder(
        self: &Arc<Self>,
        directory: PathBuf,
        name: Option<String>,
    ) -> Result<Answer, Failure> {
        let _turn = self.changing.lock().await;
        room_for_one_more(&self.config())?;
        if let Some(name) = &name {
            check_label(name).map_err(TrustError::from).map_err(account::AccountError::from)?;
        }
        let path = self.free_directory(directory).await?;
        let name = name.unwrap_or_else(|| folder_name(&path));
        let made = {
            let mut account = self.account.lock().await;
            let (remote, environment) = (self.remote.as_ref(), self.environment.as_ref());
            let made = account::create_folder(&mut account, remote, environment, &name).await;
            // Also after an error: the keyring may have changed before it.
            self.keep_account(&account).await?;
            made?
        };
        self.take_up(made.id, made.name, path).await
    }

    /// Syncs a folder of the user into a directory.
    pub(super) async fn link_folder(
        self: &Arc<Self>,
        name: &str,
        directory: PathBuf,
    ) -> Result<Answer, Failure> {
        let _turn = self.changing.lock().await;
        self.refresh().await?;
        let account = self.account.lock().await.clone();
        let (remote, environment) = (self.remote.as_ref(), self.environment.as_ref());
        let there = account::linkable_folders(&account, remote, environment).await?;
        let is_meant = |(folder, known): &(FolderId, String)| {
            known == name || (name.len() >= 8 && folder.to_string().starts_with(name))
        };
        let (id, name) = there.into_iter().find(is_meant).ok_or_else(|| {
            Failure::new(
                "no_such_folder",
                format!("there is no folder named {name}"),
                "`driftless folder ls` lists the folders",
            )
        })?;
        if let Some(known) = self.config().folder(&id) {
            return Err(Failure::new(
                "already_linked",
                format!("{name} is synced into {} already", known.path.display()),
                "remove it with `driftless folder rm` first; its files stay",
            ));
        }
        room_for_one_more(&self.config())?;
        let path = self.free_directory(directory).await?;
        self.take_up(id, name, path).await
    }

    async fn free_directory(&self, directory: PathBuf) -> Result<PathBuf, Failure> {
        let (home, config) = (self.home.path().to_owned(), self.config());
        let own = self.signer.device();
        let checked =
            blocking(move || roots::make_free(&directory, &home, Some(&config), Some(&own)));
        Ok(checked.await?)
    }

    /// Marks the root, writes the folder down and starts it.
    async fn take_up(
        self: &Arc<Self>,
        id: FolderId,
        name: String,
        path: PathBuf,
    ) -> Result<Answer, Failure> {
        let marker = roots::marker(&id, &self.signer.device());
        let root = path.clone();
        blocking(move || roots::mark(&root, &marker)).await?;
        let folder = FolderConfig { id, name, path, paused: false };
        let written = folder.clone();
        self.change_config(|config| config.folders.push(written)).await?;
        self.start_folder(&folder)
            .await
            .map_err(|error| Failure::new("engine", error.to_string(), ""))?;
        Ok(Answer::Folder(answer(folder.id, folder.name, Some(folder.path))))
    }

    /// The user's folders; those of this device alone when the server cannot be asked.
    pub(super) async fn list_folders(&self) -> Result<Answer, Failure> {
        let refreshed = self.refresh().await;
        let account = self.account.lock().await.clone();
        let (remote, environment) = (self.remote.as_ref(), self.environment.as_ref());
        let known = match refreshed {
            Ok(()) => account::linkable_folders(&account, remote, environment).await?,
            Err(error) if error.is_retryable() => {
                let folders = account.keyring().folders.iter();
                folders.map(|(folder, held)| (*folder, held.name.clone())).collect()
            }
            Err(error) => return Err(error.into()),
        };
        let config = self.config();
        let mut list: Vec<FolderAnswer> = known
            .into_iter()
            .map(|(id, name)| match config.folder(&id) {
                Some(here) => answer(id, here.name.clone(), Some(here.path.clone())),
                None => answer(id, name, None),
            })
            .collect();
        for folder in &config.folders {
            let id = folder.id.to_string();
            if !list.iter().any(|listed| listed.id == id) {
                list.push(answer(folder.id, folder.name.clone(), Some(folder.path.clone())));
            }
        }
        list.sort_by(|one, two| (&one.name, &one.id).cmp(&(&two.name, &two.id)));
        Ok(Answer::Folders(FoldersAnswer { list }))
    }

    /// Stops syncing a folder here. Its files stay, and the folder stays with the user.
    pub(super) async fn remove_folder(&self, name: &str) -> Result<Answer, Failure> {
        let _turn = self.changing.lock().await;
        let folder =
            self.config().folder_named(name).cloned().ok_or_else(|| no_such_folder(name))?;
        self.change_config(|config| config.folders.retain(|other| other.id != folder.id)).await?;
        if !self.stop_folder(&folder.id).await {
            return Err(Failure::new(
                "busy",
                format!(
                    "{} is removed, but its engine is still in the midst of a step",
                    folder.name
                ),
                "restart driftless before you link it again",
            ));
        }
        let marker = roots::marker(&folder.id, &self.signer.device());
        let (home, path) = (self.home.clone(), folder.path.clone());
        blocking(move || {
            home.remove_state(&folder.id)?;
            roots::unmark(&path, &marker).map_err(|source| {
                Failure::from(roots::RootError::Io { directory: path.clone(), source })
            })
        })
        .await?;
        Ok(done([folder.name]))
    }
}

/// Refused before anything is made: a folder more would never be followed.
fn room_for_one_more(config: &Config) -> Result<(), Failure> {
    if config.folders.len() < FOLDERS_PER_DEVICE_MAX {
        return Ok(());
    }
    Err(Failure::new(
        "too_many_folders",
        format!("this device syncs {} folders, and no device syncs more", config.folders.len()),
        "take one away with `driftless folder rm`, or sync a directory that holds several",
    ))
}

fn answer(id: FolderId, name: String, path: Option<PathBuf>) -> FolderAnswer {
    FolderAnswer { name, id: id.to_string(), path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::ServerConfig;
    use common::ids::ClusterId;

    #[test]
    fn a_folder_over_the_limit_is_refused_with_what_to_do() {
        let folder = |number: usize| FolderConfig {
            id: FolderId::from_bytes([1; 32]),
            name: number.to_string(),
            path: PathBuf::from(format!("/{number}")),
            paused: false,
        };
        let mut config = Config {
            device: "d".into(),
            server: ServerConfig {
                addresses: Vec::new(),
                cluster: ClusterId::from_bytes([0; 32]),
                embedded: false,
                listen: None,
            },
            folders: (1..FOLDERS_PER_DEVICE_MAX).map(folder).collect(),
            invited: Vec::new(),
            merge_tool: None,
        };
        room_for_one_more(&config).unwrap();
        config.folders.push(folder(0));
        let failure = room_for_one_more(&config).unwrap_err();
        assert_eq!(failure.kind, "too_many_folders");
        assert!(failure.message.contains("256") && failure.hint.contains("folder rm"));
    }
}
