//! What the daemon does for each command.
//!
//! Owns the way from a request to engines and account, and back to an answer. It must not know
//! sockets or terminals.

use super::account::{self, Invite, Revoked};
use super::control::{
    Answer, Commands, DeviceAnswer, DevicesAnswer, DoneAnswer, Failure, FolderArgument,
    InviteAnswer, PathArgument, ProgressSender, Request, ServerAnswer, StatusAnswer, SyncAnswer,
};
use super::paths::{self, InFolder, no_such_folder};
use super::shared::Shared;
use super::{conflict_commands, history_commands, label_commands, summaries, times};
use crate::engine::handle::Answer as Reply;
use crate::engine::{Ask, AskError, FolderHandle, HaltReason};
use crate::home::FolderConfig;
use async_trait::async_trait;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Kinds of failures that a sync ends.
const AWAIT_SYNC: [&str; 3] = ["not_heard", "unsynced", "no_history"];
/// How long an invitation waits for a folder's checkpoint: the engine answers between two steps.
const CHECKPOINT_TIME_MAX: Duration = Duration::from_secs(15);

/// The daemon as the control socket asks it.
pub(super) struct Control(pub(super) Arc<Shared>);

#[async_trait]
impl Commands for Control {
    async fn carry_out(
        &self,
        request: Request,
        progress: ProgressSender,
    ) -> Result<Answer, Failure> {
        let (path, folder) = (request.path().cloned(), request.folder().cloned());
        let done = self.carry_out_as_named(request, progress).await;
        done.map_err(|failure| {
            let config = self.0.config();
            let meant = match (&path, &folder) {
                (Some(path), _) => paths::resolve(&config, path).ok().map(|found| found.folder),
                (None, Some(folder)) => paths::folder_meant(&config, folder).ok(),
                (None, None) => None,
            };
            let failure = match meant {
                Some(folder) => self.or_it_rests(&folder, failure),
                None => failure,
            };
            match &path {
                Some(path) => paths::or_no_folder(&config, path, failure),
                None => failure,
            }
        })
    }
}

impl Control {
    /// Says of what a sync would bring that this folder does not sync for now.
    fn or_it_rests(&self, folder: &FolderConfig, failure: Failure) -> Failure {
        if !AWAIT_SYNC.contains(&failure.kind.as_str()) {
            return failure;
        }
        let is_halted = || {
            let handle = self.0.handle(&folder.id);
            handle.is_some_and(|handle| self.0.shown(&handle).halt.is_some())
        };
        let first = if folder.paused {
            "the folder is paused: run `driftless resume` first"
        } else if is_halted() {
            "the folder waits for a person, `driftless status` says for what"
        } else {
            return failure;
        };
        Failure { hint: format!("{first}; {}", failure.hint), ..failure }
    }

    async fn carry_out_as_named(
        &self,
        request: Request,
        progress: ProgressSender,
    ) -> Result<Answer, Failure> {
        let shared = &self.0;
        match request {
            Request::Status => Ok(Answer::Status(shared.status())),
            Request::Sync { timeout_ms } => sync(shared, timeout_ms, progress).await,
            Request::List { path, folder, what } => {
                history_commands::list(shared, path, &folder, what).await
            }
            Request::Log { path, folder, before, limit } => {
                history_commands::log(shared, path, &folder, before, limit).await
            }
            Request::Export { path, which, to, bytes_only } => {
                history_commands::export(shared, &path, which, to, bytes_only).await
            }
            Request::Restore { path, which, dry_run } => {
                history_commands::restore(shared, &path, which, dry_run).await
            }
            Request::Diff { path, from, to, disk } => {
                history_commands::diff(shared, &path, from, to, disk).await
            }
            Request::Conflicts { path, diff } => conflict_commands::list(shared, path, diff).await,
            Request::Merge { path } => conflict_commands::merge_of(shared, &path).await,
            Request::Resolve { path, keep } => {
                conflict_commands::resolve(shared, &path, keep).await
            }
            Request::ResolveWith { path, file, seen } => {
                conflict_commands::resolve_with(shared, &path, file, seen).await
            }
            Request::Devices => devices(shared).await,
            Request::DeviceRevoke { name } => revoke(shared, &name).await,
            Request::Pause { folder } => set_paused(shared, folder.as_deref(), true).await,
            Request::Resume { folder } => set_paused(shared, folder.as_deref(), false).await,
            Request::Confirm { folder, undo } => confirm(shared, folder.as_deref(), undo).await,
            Request::Why { path } => history_commands::why(shared, &path).await,
            Request::Plan { folder } => history_commands::plan(shared, folder.as_deref()).await,
            Request::Invite { folder, life_ms } => {
                invite(shared, &folder, life_ms).await.map(Answer::Invite)
            }
            Request::FolderAdd { directory, name } => shared.add_folder(directory, name).await,
            Request::FolderList => shared.list_folders().await,
            Request::FolderLink { name, directory } => shared.link_folder(&name, directory).await,
            Request::FolderRemove { name } => shared.remove_folder(&name).await,
            Request::LabelAdd { folder, name, at } => {
                label_commands::add(shared, &folder, &name, at).await
            }
            Request::LabelList { folder } => label_commands::list(shared, &folder).await,
            Request::LabelRemove { folder, name } => {
                label_commands::remove(shared, &folder, name).await
            }
            Request::SettingsShow { folder } => label_commands::show(shared, &folder).await,
            Request::SettingsSet { folder, set } => {
                label_commands::set(shared, &folder, &set).await
            }
            Request::RetentionPreview { folder, set } => {
                label_commands::preview(shared, &folder, &set).await
            }
        }
    }
}

pub(super) fn done(on: impl IntoIterator<Item = String>) -> Answer {
    Answer::Done(DoneAnswer { done: true, on: on.into_iter().collect(), ..DoneAnswer::default() })
}

impl Shared {
    pub(super) fn status(&self) -> StatusAnswer {
        let config = self.config();
        StatusAnswer {
            device: config.device,
            server: ServerAnswer {
                address: self.advertised.addresses.first().cloned().unwrap_or_default(),
                connected: self.remote.is_connected(),
                refused: self.barred().map(|failure| failure.message),
            },
            folders: self.folder_statuses(),
        }
    }

    fn folder_statuses(&self) -> Vec<super::control::FolderStatusAnswer> {
        let folders = self.folders();
        let config = self.config();
        let status = |folder: &FolderConfig| match folders.get(&folder.id) {
            Some(running) => {
                summaries::folder(folder, self.shown(&running.handle), running.watch_state())
            }
            None => summaries::unstarted(folder, self.unstarted(&folder.id)),
        };
        config.folders.iter().map(status).collect()
    }

    /// The folders that a person means: the named one, or all.
    pub(super) fn meant(&self, name: Option<&str>) -> Result<Vec<FolderConfig>, Failure> {
        let config = self.config();
        let Some(name) = name else { return Ok(config.folders) };
        let wanted = config.folder_named(name).ok_or_else(|| no_such_folder(name))?;
        Ok(vec![wanted.clone()])
    }
}

pub(super) fn find(
    shared: &Shared,
    argument: &PathArgument,
) -> Result<(InFolder, FolderHandle), Failure> {
    let at = paths::resolve(&shared.config(), argument)?;
    let handle = handle(shared, &at.folder)?;
    Ok((at, handle))
}

pub(super) fn handle(shared: &Shared, folder: &FolderConfig) -> Result<FolderHandle, Failure> {
    shared.handle(&folder.id).ok_or_else(|| {
        let reason = shared.unstarted(&folder.id);
        let reason = reason.unwrap_or_else(|| "it has not been started yet".to_owned());
        let message = format!("folder {} does not run: {reason}", folder.name);
        Failure::new("engine", message, "it is tried again by itself")
    })
}

async fn sync(
    shared: &Shared,
    timeout_ms: Option<u64>,
    progress: ProgressSender,
) -> Result<Answer, Failure> {
    shared.remote.knock().await;
    let handles = shared.handles();
    let is_asked = |folder: &FolderConfig| handles.iter().any(|(asked, _)| asked.id == folder.id);
    // A folder without an engine is not in sync; its state says why it has none.
    let all_asked = shared.config().folders.iter().all(is_asked);
    let asked = handles.iter().map(|(_, handle)| handle.ask(Ask::Sync));
    let waiting = join_all(asked);
    tokio::pin!(waiting);
    let timeout = async {
        match timeout_ms {
            Some(timeout_ms) => tokio::time::sleep(Duration::from_millis(timeout_ms)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(timeout);
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let reached = loop {
        tokio::select! {
            reached = &mut waiting => break Some(reached),
            () = &mut timeout => break None,
            _ = ticks.tick() => {
                // It may hold for ever: nobody is to wait for it.
                if let Some(failure) = shared.barred().or_else(|| removed(&handles)) {
                    return Err(failure);
                }
                let report = handles
                    .iter()
                    .map(|(folder, handle)| summaries::progress(folder, &shared.shown(handle)));
                // A reader that is slow misses a report, no more.
                if progress.try_send(report.collect()).is_err() {
                    continue;
                }
            }
        }
    };
    if let Some(failure) = shared.barred().or_else(|| removed(&handles)) {
        return Err(failure);
    }
    // An engine that has ended is not in sync; its folder says why.
    let are_in_sync = |reached: &[Result<bool, _>]| reached.iter().all(|it| matches!(it, Ok(true)));
    let in_sync = all_asked && reached.is_some_and(|reached| are_in_sync(&reached));
    let folders = shared.folder_statuses();
    let conflicts = folders.iter().map(|folder| folder.conflicts).sum();
    Ok(Answer::Sync(SyncAnswer { in_sync, conflicts, folders }))
}

/// Why nobody waits any more for folders of which one was removed.
fn removed(asked: &[(FolderConfig, FolderHandle)]) -> Option<Failure> {
    let (folder, _) = asked.iter().find(|(_, handle)| handle.is_stopped())?;
    let message = format!("folder {} was removed from this device meanwhile", folder.name);
    let hint = "run `driftless sync` again for the other folders";
    Some(Failure::new("no_such_folder", message, hint))
}

async fn devices(shared: &Shared) -> Result<Answer, Failure> {
    // Offline, the device log still names the devices.
    let refreshed = shared.refresh().await;
    let account = shared.account.lock().await.clone();
    let (remote, environment) = (shared.remote.as_ref(), shared.environment.as_ref());
    let list = match refreshed {
        Ok(()) => account::devices(&account, remote, environment).await?,
        Err(error) if error.is_retryable() => account::known_devices(&account),
        Err(error) => return Err(error.into()),
    };
    let devices = list.into_iter().map(|device| DeviceAnswer {
        name: device.name,
        id: device.id.to_string(),
        is_self: device.is_self,
        online: device.online,
        last_seen: device.last_seen_ms.map(times::from_ms),
        revoked: device.revoked,
    });
    Ok(Answer::Devices(DevicesAnswer { devices: devices.collect() }))
}

async fn revoke(shared: &Shared, name: &str) -> Result<Answer, Failure> {
    let mut account = shared.account.lock().await;
    let (remote, environment) = (shared.remote.as_ref(), shared.environment.as_ref());
    let revoked = account::revoke_device(&mut account, remote, environment, name).await;
    // Also after an error: a record may have been appended before it.
    shared.keep_account(&account).await?;
    let Revoked { device, already } = revoked?;
    let on = vec![account.device_name(&device)];
    Ok(Answer::Done(DoneAnswer { done: true, on, already, ..DoneAnswer::default() }))
}

async fn set_paused(shared: &Shared, name: Option<&str>, paused: bool) -> Result<Answer, Failure> {
    let meant = shared.meant(name)?;
    let ids: Vec<_> = meant.iter().map(|folder| folder.id).collect();
    shared
        .change_config(|config| {
            for folder in config.folders.iter_mut().filter(|folder| ids.contains(&folder.id)) {
                folder.paused = paused;
            }
        })
        .await?;
    let ask: fn(Reply<()>) -> Ask = if paused { Ask::Pause } else { Ask::Resume };
    let (mut set, mut failed) = (Vec::new(), Vec::new());
    for folder in meant {
        let asked = match shared.handle(&folder.id) {
            Some(handle) => handle.ask(ask).await,
            None => Err(AskError::NotRunning),
        };
        match asked {
            // An engine that is still to come starts as the configuration says.
            Ok(()) | Err(AskError::NotRunning) => set.push(folder.name),
            Err(error) => failed.push((folder.name, error.into())),
        }
    }
    at_the_end(set, failed)
}

async fn confirm(shared: &Shared, name: Option<&str>, undo: bool) -> Result<Answer, Failure> {
    let (mut confirmed, mut agreed) = (Vec::new(), Vec::new());
    let (mut failed, mut waiting, mut running) = (Vec::new(), None, Vec::new());
    for folder in shared.meant(name)? {
        match handle(shared, &folder) {
            Ok(handle) => running.push((folder, handle)),
            Err(failure) => {
                waiting = waiting.or(Some((folder.name, failure.message, failure.hint)));
            }
        }
    }
    let unseen = unseen(shared, &running, undo).await;
    for (folder, handle) in running {
        // Afterwards nothing tells any more what it was.
        let seen = unseen.halts.get(&folder.name).cloned();
        let halt = seen.or_else(|| shared.shown(&handle).halt).filter(|halt| halt.can_confirm);
        let asked = match undo {
            true => handle.ask(Ask::Undo).await.map(|_| ()),
            false => handle.ask(Ask::Confirm).await,
        };
        match asked {
            Ok(()) => {
                agreed.extend(halt.map(|halt| format!("{}: {}", folder.name, halt.message)));
                confirmed.push(folder.name);
            }
            Err(AskError::NothingToConfirm | AskError::NotRunning) => {
                let halt = shared.shown(&handle).halt;
                waiting = waiting.or(halt.map(|halt| (folder.name, halt.message, halt.hint)));
            }
            Err(error) => failed.push((folder.name, error.into())),
        }
    }
    if confirmed.is_empty() && failed.is_empty() {
        return Err(match (waiting, unseen.failure) {
            (Some((name, message, hint)), _) => Failure::new(
                "nothing_to_confirm",
                match undo {
                    true => format!("{name} waits for nothing that can be undone: {message}"),
                    false => format!("{name} waits for no confirmation: {message}"),
                },
                hint,
            ),
            (None, Some(failure)) => Failure {
                message: format!(
                    "nothing is known to wait for a confirmation, but {}",
                    failure.message
                ),
                ..failure
            },
            (None, None) => AskError::NothingToConfirm.into(),
        });
    }
    match at_the_end(confirmed, failed)? {
        Answer::Done(done) => Ok(Answer::Done(DoneAnswer { agreed, ..done })),
        other => Ok(other),
    }
}

/// What was found to wait for a person when the server was looked at, by the folder's name, and why it
/// could not be looked at for one, if so.
#[derive(Default)]
struct Unseen {
    halts: BTreeMap<String, HaltReason>,
    failure: Option<Failure>,
}

/// Looks at the server where nothing is known to wait.
async fn unseen(shared: &Shared, running: &[(FolderConfig, FolderHandle)], undo: bool) -> Unseen {
    let mut unseen = Unseen::default();
    let is_known = |(_, handle): &(_, FolderHandle)| shared.shown(handle).halt.is_some();
    // What only the server knows of is not taken back.
    if undo || running.iter().any(is_known) {
        return unseen;
    }
    for (folder, handle) in running {
        match handle.ask(Ask::Halt).await {
            Ok(halt) => unseen.halts.extend(halt.map(|halt| (folder.name.clone(), halt))),
            Err(AskError::NotRunning) => {}
            Err(error) => unseen.failure = unseen.failure.or(Some(error.into())),
        }
    }
    unseen
}

/// What is said of a command that asked several folders, each of them: that all was done, or which
/// failed first and why, and what was done all the same.
pub(super) fn at_the_end(
    on: Vec<String>,
    failed: Vec<(String, Failure)>,
) -> Result<Answer, Failure> {
    let mut failed = failed.into_iter();
    let Some((name, first)) = failed.next() else { return Ok(done(on)) };
    let mut message = format!("{name}: {}", first.message);
    for (name, failure) in failed {
        message.push_str(&format!("; {name}: {}", failure.message));
    }
    if !on.is_empty() {
        message.push_str(&format!("; it was done for {}", on.join(", ")));
    }
    Err(Failure { message, ..first })
}

/// Why an engine did not answer; one that has ended says why by its halt.
pub(super) fn told(handle: &FolderHandle, error: AskError) -> Failure {
    match (&error, handle.summary().halt) {
        (AskError::NotRunning, Some(halt)) => Failure::new("engine", halt.message, halt.hint),
        _ => error.into(),
    }
}

pub(super) async fn invite(
    shared: &Shared,
    folder: &FolderArgument,
    life_ms: u64,
) -> Result<InviteAnswer, Failure> {
    let folder = paths::folder_meant(&shared.config(), folder)?;
    let checkpoints = checkpoints(shared).await;
    let invite =
        Invite { server: shared.advertised.clone(), folder: Some(folder.id), checkpoints, life_ms };
    let mut account = shared.account.lock().await;
    let (remote, environment) = (shared.remote.as_ref(), shared.environment.as_ref());
    let made = account::open_invitation(&mut account, remote, environment, &invite).await;
    // Also after an error: records may have been read or appended before it.
    shared.keep_account(&account).await?;
    let made = made?;
    Ok(InviteAnswer {
        code: made.code.to_string(),
        folder: Some(folder.name),
        expires: times::from_ms(made.expires_ms),
    })
}

/// Signed checkpoints of the folders that can give one now.
async fn checkpoints(shared: &Shared) -> BTreeMap<common::ids::FolderId, Vec<u8>> {
    let asked = shared.handles().into_iter().map(|(folder, handle)| async move {
        let asked = handle.ask(Ask::Checkpoint);
        match tokio::time::timeout(CHECKPOINT_TIME_MAX, asked).await {
            Ok(Ok(checkpoint)) => checkpoint.map(|checkpoint| (folder.id, checkpoint)),
            Ok(Err(error)) => {
                tracing::warn!(folder = folder.name, %error, "a folder gives no checkpoint");
                None
            }
            Err(_) => {
                tracing::warn!(folder = folder.name, "a folder gives no checkpoint in time");
                None
            }
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}
