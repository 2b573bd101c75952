//! `config.toml`: what a person may read, and mostly what commands write.
//!
//! Owns its names and their checks. It holds no secret.

use super::HomeError;
use common::ids::{ClusterId, FolderId, Head};
use common::revision::Cursor;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Largest configuration that is read, in bytes.
pub(super) const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What stands above all tables. In TOML a line below the beginning of a table is the table's.
const ABOVE_ALL_TABLES: [&str; 3] = ["version", "device", "merge_tool"];
/// Version of the file that this program writes.
const VERSION: u32 = 1;

/// The configuration of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The device's name, as other devices see it.
    pub device: String,
    /// Its server.
    pub server: ServerConfig,
    /// The folders that are synced here, in the order in which they were added.
    pub folders: Vec<FolderConfig>,
    /// What the invitation said of each folder: nothing older is taken for the folder's state.
    pub invited: Vec<(FolderId, Cursor)>,
    /// What `resolve --keep merged` starts where a merge is not clean, with `{mine}`, `{base}`,
    /// `{theirs}` and `{merged}` for the files; the user's editor when it is not said.
    pub merge_tool: Option<String>,
}

/// Where the server is and which key it must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// `host:port`, tried in order.
    pub addresses: Vec<String>,
    /// The cluster's key.
    pub cluster: ClusterId,
    /// Whether the server is started with this device, from `HOME/server`.
    pub embedded: bool,
    /// Where the embedded server listens, if that was said.
    pub listen: Option<String>,
}

/// A folder that is synced on this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderConfig {
    /// Which folder.
    pub id: FolderId,
    /// Its name on this device.
    pub name: String,
    /// Its root, absolute and without symlinks.
    pub path: PathBuf,
    /// Whether a person paused it.
    pub paused: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigText {
    version: u32,
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merge_tool: Option<String>,
    server: ServerText,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    folder: Vec<FolderText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    invited: Vec<InvitedText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerText {
    addresses: Vec<String>,
    cluster: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    embedded: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listen: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderText {
    id: String,
    name: String,
    path: PathBuf,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    paused: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvitedText {
    folder: String,
    epoch: u64,
    revision: u64,
    head: String,
}

/// Only the version, so that a newer file says so before anything else is wrong.
#[derive(Deserialize)]
struct VersionText {
    version: u32,
}

impl Config {
    /// The folder with this id.
    #[must_use]
    pub fn folder(&self, id: &FolderId) -> Option<&FolderConfig> {
        self.folders.iter().find(|folder| folder.id == *id)
    }

    /// The folder of this name, or with an id that begins so (at least 8 digits).
    #[must_use]
    pub fn folder_named(&self, name: &str) -> Option<&FolderConfig> {
        self.folders.iter().find(|folder| folder.name == name).or_else(|| {
            let mut matching = self
                .folders
                .iter()
                .filter(|folder| name.len() >= 8 && folder.id.to_string().starts_with(name));
            matching.next().filter(|_| matching.next().is_none())
        })
    }

    /// From where a folder has to be taken, as the invitation said.
    #[must_use]
    pub fn invited_at(&self, folder: &FolderId) -> Option<Cursor> {
        self.invited.iter().find(|(id, _)| id == folder).map(|(_, cursor)| *cursor)
    }

    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, HomeError> {
        let malformed = |reason: String| HomeError::Config { path: path.to_owned(), reason };
        let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
        let version: VersionText =
            toml::from_str(text).map_err(|error| malformed(wrong_in(text, &error)))?;
        if version.version != VERSION {
            let reason =
                format!("it has version {}, this program knows {VERSION}", version.version);
            return Err(malformed(reason));
        }
        let text: ConfigText =
            toml::from_str(text).map_err(|error| malformed(wrong_in(text, &error)))?;
        Self::from_text(text).map_err(malformed)
    }

    pub(super) fn print(&self, path: &Path) -> Result<String, HomeError> {
        toml::to_string(&self.text()).map_err(|error| HomeError::Malformed {
            path: path.to_owned(),
            reason: format!("it cannot be written: {error}"),
        })
    }

    fn from_text(text: ConfigText) -> Result<Self, String> {
        let folders = text.folder.into_iter().map(|folder| {
            if !folder.path.is_absolute() {
                return Err(format!("the path of folder {} is not absolute", folder.name));
            }
            let (name, path, paused) = (folder.name, folder.path, folder.paused);
            Ok(FolderConfig { id: FolderId::from_bytes(hex32(&folder.id)?), name, path, paused })
        });
        let invited = text.invited.into_iter().map(|invited| {
            let head = Head::from_bytes(hex32(&invited.head)?);
            let cursor = Cursor { epoch: invited.epoch, revision: invited.revision, head };
            Ok((FolderId::from_bytes(hex32(&invited.folder)?), cursor))
        });
        Ok(Self {
            device: text.device,
            server: ServerConfig {
                addresses: text.server.addresses,
                cluster: ClusterId::from_bytes(hex32(&text.server.cluster)?),
                embedded: text.server.embedded,
                listen: text.server.listen,
            },
            folders: folders.collect::<Result<_, String>>()?,
            invited: invited.collect::<Result<_, String>>()?,
            merge_tool: text.merge_tool,
        })
    }

    fn text(&self) -> ConfigText {
        let folder = self.folders.iter().map(|folder| FolderText {
            id: folder.id.to_string(),
            name: folder.name.clone(),
            path: folder.path.clone(),
            paused: folder.paused,
        });
        let invited = self.invited.iter().map(|(folder, cursor)| InvitedText {
            folder: folder.to_string(),
            epoch: cursor.epoch,
            revision: cursor.revision,
            head: cursor.head.to_string(),
        });
        ConfigText {
            version: VERSION,
            device: self.device.clone(),
            merge_tool: self.merge_tool.clone(),
            server: ServerText {
                addresses: self.server.addresses.clone(),
                cluster: self.server.cluster.to_string(),
                embedded: self.server.embedded,
                listen: self.server.listen.clone(),
            },
            folder: folder.collect(),
            invited: invited.collect(),
        }
    }
}

fn hex32(text: &str) -> Result<[u8; 32], String> {
    HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| format!("{text:?} is not 64 hex digits"))
}

/// Whether a table begins in a text.
fn is_in_a_table(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with('['))
}

/// What is wrong with a text, and in which line, without a picture of it.
fn wrong_in(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    let before = error.span().and_then(|span| text.get(..span.start).zip(text.get(span)));
    match before.filter(|(_, at)| !at.contains('\n')) {
        Some((before, _)) => {
            let number = before.matches('\n').count();
            let line = text.lines().nth(number).unwrap_or_default().trim();
            let key = line.split('=').next().unwrap_or_default().trim();
            let message = if ABOVE_ALL_TABLES.contains(&key) && is_in_a_table(before) {
                format!("{key} belongs above the first line that begins with `[`")
            } else {
                message
            };
            format!("line {}, `{line}`: {message}", number + 1)
        }
        None => message,
    }
}
