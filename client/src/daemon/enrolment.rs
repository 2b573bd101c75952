//! Enrolling this home: from a join code to a home that a daemon can run on.
//!
//! Owns the order of steps, so that a stop at any moment leaves either no device or one that goes
//! on when the same command is given again: check the directory, note the record, redeem, fetch,
//! keep keys, mark the root, write the configuration, forget the note.

use super::account::{self, Account, AccountError, Invited};
use super::control::Failure;
use super::{roots, shared::blocking};
use crate::context::Environment;
use crate::home::{Config, FolderConfig, Home, Pending, PendingKind, ServerConfig};
use crate::remote::{QuicRemote, Remote, RemoteError, Server, join};
use common::ids::FolderId;
use common::keys::DeviceKeys;
use common::trust::{JoinCode, JoinKind};
use common::wire::meta::RefusalCode;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Attempts at redeeming before an error is told.
const ATTEMPTS: u32 = 6;
/// Pause before the second attempt, in milliseconds; doubled for each one after.
const PAUSE_MS: u64 = 200;

/// What a home is enrolled with.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The code.
    pub code: JoinCode,
    /// The directory for the folder that the code invites to, or for the first folder.
    pub directory: PathBuf,
    /// The device's name.
    pub device: String,
    /// Of a first folder; the directory's name when it is not said.
    pub folder: Option<String>,
    /// Where this device reaches the server.
    pub local: Server,
    /// Whether the server is started with this device, and where it then listens.
    pub embedded: Option<SocketAddr>,
}

/// An enrolled device and its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The name that the device got.
    pub device: String,
    /// The folder's name.
    pub folder: String,
    /// Which folder.
    pub folder_id: FolderId,
    /// Its root.
    pub path: PathBuf,
}

/// Enrols the home. The caller holds its lock.
///
/// # Errors
/// [`Failure`]; the same command may be given again.
pub async fn enrol(
    home: &Home,
    enrolment: &Enrolment,
    environment: &dyn Environment,
) -> Result<Enrolled, Failure> {
    let directory = free_directory(home, &enrolment.directory).await?;
    home.create()?;
    let pending = redeem(home, enrolment, environment).await?;
    let (mut account, invited) = account::redeemed(&pending)?;
    let remote = QuicRemote::new(enrolment.local.clone(), &account.device_keys().signing);
    let folder = fetch(&mut account, &remote, environment, enrolment, &invited, &directory).await;
    remote.close().await;
    let (folder_id, folder) = folder?;
    let enrolled = Enrolled { device: pending.name, folder, folder_id, path: directory };
    let config = config(enrolment, &enrolled, &invited);
    let marker = roots::marker(&folder_id, &account.device());
    let (home, path) = (home.clone(), enrolled.path.clone());
    blocking(move || {
        account.save(&home)?;
        roots::mark(&path, &marker)?;
        home.put_config(&config)?;
        // A recovery key that was not shown yet waits in the note until it was.
        if matches!(pending.kind, PendingKind::Device { .. }) {
            home.clear_pending()?;
        }
        Ok::<_, Failure>(())
    })
    .await?;
    Ok(enrolled)
}

/// Makes the directory if it may become the root of this home's first folder, and gives its path
/// without symlinks.
///
/// # Errors
/// The kinds of a directory that may not.
pub async fn free_directory(home: &Home, directory: &Path) -> Result<PathBuf, Failure> {
    let own = home.pending()?.map(|pending| pending.keys.device.device());
    let (home, directory) = (home.path().to_owned(), directory.to_owned());
    let checked = blocking(move || roots::make_free(&directory, &home, None, own.as_ref()));
    Ok(checked.await?)
}

/// The noted record, redeemed: that of an earlier attempt with the same code, or a new one.
async fn redeem(
    home: &Home,
    enrolment: &Enrolment,
    environment: &dyn Environment,
) -> Result<Pending, Failure> {
    let noted = home.pending()?.filter(|pending| match pending.kind {
        // The embedded server makes a new code at each start; the record is good for either, but
        // for no other server.
        PendingKind::Bootstrap { .. } => {
            enrolment.code.kind == JoinKind::Bootstrap
                && pending.code.cluster == enrolment.code.cluster
        }
        PendingKind::Device { .. } => pending.code.secret == enrolment.code.secret,
    });
    if let Some(mut pending) = noted {
        pending.code.addresses.clone_from(&enrolment.local.addresses);
        match send(&pending, environment).await {
            Ok(()) => return Ok(pending),
            Err(error) if error.refusal_code().is_none() => return Err(error.into()),
            // It never took effect: begin anew.
            Err(error) => tracing::info!(%error, "an earlier enrolment had no effect"),
        }
    }
    let mut keys = None;
    for attempt in 1.. {
        let pending = prepare(enrolment, keys.take(), environment).await?;
        home.put_pending(&pending)?;
        match send(&pending, environment).await {
            Ok(()) => return Ok(pending),
            // Another device has changed the log: the record is made anew, with the same keys.
            Err(error)
                if attempt < ATTEMPTS
                    && matches!(
                        error.refusal_code(),
                        Some(RefusalCode::Conflict | RefusalCode::RecordInvalid)
                    ) =>
            {
                keys = Some(pending.keys.device.clone());
            }
            Err(error) => {
                if error.refusal_code().is_some() || was_never_sent(&error) {
                    home.clear_pending()?;
                }
                return Err(error.into());
            }
        }
    }
    Err(AccountError::Contended("the device log").into())
}

async fn prepare(
    enrolment: &Enrolment,
    keys: Option<DeviceKeys>,
    environment: &dyn Environment,
) -> Result<Pending, Failure> {
    let mut code = enrolment.code.clone();
    code.addresses.clone_from(&enrolment.local.addresses);
    if code.kind == JoinKind::Bootstrap {
        return Ok(account::prepare_bootstrap(&code, &enrolment.device, environment)?);
    }
    if code.kind != JoinKind::Device {
        return Err(AccountError::CodeKind(code.kind).into());
    }
    let keys = keys.unwrap_or_else(|| {
        let mut seed = [0; 32];
        environment.random(&mut seed);
        DeviceKeys::from_seed(seed)
    });
    let left = retried(environment, async || join::fetch(&code, &keys.signing).await).await?;
    Ok(account::prepare_device(&code, left, keys, &enrolment.device, environment)?)
}

/// Redeems; safe to repeat, because the same record has one effect.
async fn send(pending: &Pending, environment: &dyn Environment) -> Result<(), RemoteError> {
    let key = &pending.keys.device.signing;
    let redeem = async || join::redeem(&pending.code, key, pending.record.clone()).await;
    retried(environment, redeem).await
}

async fn retried<T>(
    environment: &dyn Environment,
    call: impl AsyncFn() -> Result<T, RemoteError>,
) -> Result<T, RemoteError> {
    let (mut attempt, mut lost) = (1, None);
    loop {
        match (call().await, lost.take()) {
            // A server that is not there is told at once; what was lost on the way is repeated.
            (Err(error), before)
                if error.is_retryable() && !was_never_sent(&error) && attempt < ATTEMPTS =>
            {
                lost = if error.refusal_code().is_none() { Some(error) } else { before };
                environment.sleep(PAUSE_MS << attempt).await;
                attempt += 1;
            }
            // What was lost may have arrived, though this attempt did not.
            (Err(error), Some(lost)) if was_never_sent(&error) => return Err(lost),
            (outcome, _) => return outcome,
        }
    }
}

/// Whether there was no connection, so that the call had no effect.
fn was_never_sent(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Unreachable { .. } | RemoteError::WrongServerKey { .. })
}

/// Reads what the enrolled device may read, and finds or makes its folder.
async fn fetch(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
    enrolment: &Enrolment,
    invited: &Invited,
    directory: &Path,
) -> Result<(FolderId, String), Failure> {
    account::refresh(account, remote, environment).await?;
    let found = account.keyring().version;
    if found < invited.keyring_version {
        let seen = invited.keyring_version;
        return Err(AccountError::KeyringRolledBack { found, seen }.into());
    }
    if enrolment.code.kind == JoinKind::Bootstrap {
        return first_folder(account, remote, environment, enrolment, directory).await;
    }
    let only = match invited.folders.as_slice() {
        [(folder, ..)] => Some(*folder),
        _ => None,
    };
    let folder = invited.folder.or(only).ok_or_else(|| {
        Failure::new(
            "no_such_folder",
            "the code invites to no folder",
            "make a code for a folder with `driftless invite --folder NAME`",
        )
    })?;
    let name = account::verify_folder(account, remote, environment, &folder).await?;
    Ok((folder, name))
}

/// The folder of a new user, or that which a stopped attempt has made.
async fn first_folder(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
    enrolment: &Enrolment,
    directory: &Path,
) -> Result<(FolderId, String), Failure> {
    let name = enrolment.folder.clone().unwrap_or_else(|| folder_name(directory));
    let there = account::linkable_folders(account, remote, environment).await?;
    if let Some((folder, name)) = there.into_iter().find(|(_, there)| *there == name) {
        return Ok((folder, name));
    }
    let made = account::create_folder(account, remote, environment, &name).await?;
    Ok((made.id, made.name))
}

/// A folder's name when none is given: that of its directory.
#[must_use]
pub fn folder_name(directory: &Path) -> String {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
    let kept: String =
        name.unwrap_or_default().chars().filter(|character| !character.is_control()).collect();
    let mut short = kept;
    while short.len() > common::limits::LABEL_BYTES_MAX {
        short.pop();
    }
    if short.is_empty() { "folder".to_owned() } else { short }
}

fn config(enrolment: &Enrolment, enrolled: &Enrolled, invited: &Invited) -> Config {
    let at = |(folder, _, cursor): &(FolderId, String, Option<_>)| Some((*folder, (*cursor)?));
    Config {
        device: enrolled.device.clone(),
        server: ServerConfig {
            addresses: enrolment.code.addresses.clone(),
            cluster: enrolment.code.cluster,
            embedded: enrolment.embedded.is_some(),
            listen: enrolment.embedded.map(|address| address.to_string()),
        },
        folders: vec![FolderConfig {
            id: enrolled.folder_id,
            name: enrolled.folder.clone(),
            path: enrolled.path.clone(),
            paused: false,
        }],
        invited: invited.folders.iter().filter_map(at).collect(),
        merge_tool: None,
    }
}
