//! Errors as a person and as a script reads them: kind, message, hint.
//!
//! Owns the kinds, which are stable, and what to do next about each error of the client.

use super::account::AccountError;
use super::control::Failure;
use super::roots::{Relation, RootError};
use crate::engine::AskError;
use crate::home::HomeError;
use crate::remote::RemoteError;
use common::revision::Revision;
use common::trust::{JoinCodeError, JoinKind, TrustError};
use common::wire::meta::RefusalCode;

const RETRY: &str = "try again in a moment";
const REJOIN: &str = "the files here stay; to sync them again, run `driftless folder rm NAME` here \
                      and then `driftless --home NEWHOME join CODE DIR` with a code from another \
                      device";

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let message = error.to_string();
        let (kind, hint) = match error {
            HomeError::Unknown => ("no_home", "say where with --home or DRIFTLESS_HOME".to_owned()),
            HomeError::NotEnrolled { .. } => (
                "not_enrolled",
                "start with `driftless up DIR`, or join with `driftless join CODE DIR`".to_owned(),
            ),
            HomeError::InUse { .. } => (
                "already_running",
                "talk to it with `driftless status`, or give this one another --home".to_owned(),
            ),
            HomeError::Missing { .. } | HomeError::Malformed { .. } => (
                "home_damaged",
                "put the file back from a backup; or revoke this device on another one, and join \
                 again with a new --home"
                    .to_owned(),
            ),
            HomeError::Config { .. } => (
                "home_damaged",
                "it is a text file: mend that line by hand; what it was before is in a backup, if you \
                 have one"
                    .to_owned(),
            ),
            HomeError::Exposed { path, .. } => {
                ("home_exposed", format!("chmod 600 {}", path.display()))
            }
            HomeError::Io { .. } => {
                ("home", "look at the directory's owner, its permissions and its disk".to_owned())
            }
        };
        Self::new(kind, message, hint)
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let message = error.to_string();
        let (kind, hint) = match &error {
            RemoteError::Unreachable { .. } | RemoteError::Closed(_) | RemoteError::Timeout(_) => (
                "offline",
                "see that the server runs and that its UDP port can be reached from here",
            ),
            RemoteError::WrongServerKey { .. } => (
                "wrong_server",
                "another server answers at this address; do not trust it before you know why",
            ),
            RemoteError::Refused(refusal) => refusal_kind(refusal.code()),
            RemoteError::Protocol(_) | RemoteError::TooLarge(_) => {
                ("protocol", "see that device and server have versions that fit")
            }
        };
        Self::new(kind, message, hint)
    }
}

fn refusal_kind(code: RefusalCode) -> (&'static str, &'static str) {
    match code {
        RefusalCode::InvitationInvalid => (
            "invitation_invalid",
            "a code works once and only for a while: get a new one with `driftless invite`",
        ),
        RefusalCode::Revoked => ("revoked", REJOIN),
        RefusalCode::NotEnrolled => (
            "unknown_device",
            "the files here stay; the server's owner may have restored it from an older backup: if \
             it does not come back, join again with a new --home and a code from another device",
        ),
        RefusalCode::Quota => ("quota", "make room, or ask the server's owner for more"),
        RefusalCode::DiskFull => ("server_full", "make room on the server's disk"),
        RefusalCode::Stopped => {
            ("server_stopped", "the server stopped after a failed write: look at its log")
        }
        RefusalCode::Busy | RefusalCode::Conflict => ("busy", RETRY),
        _ => ("refused", ""),
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        let message = error.to_string();
        let (kind, hint) = match error {
            AccountError::Remote(error) => return error.into(),
            AccountError::Home(error) => return error.into(),
            AccountError::Trust(error) => return trust_failure(&error),
            AccountError::Keyring(_) | AccountError::Answer(_) => {
                ("untrusted", "do not go on with this server before you know why")
            }
            AccountError::ForeignLog(_) | AccountError::KeyringRolledBack { .. } => {
                ("untrusted", "the server shows another history than your devices have seen")
            }
            AccountError::CodeKind(JoinKind::Node) => ("code_kind", "run `driftless-server`"),
            AccountError::CodeKind(_) => {
                ("code_kind", "get a code for a device with `driftless invite`")
            }
            AccountError::Revoked { .. } => ("revoked", REJOIN),
            AccountError::NoFolderKeys(_) | AccountError::NoSuchFolder(_) => {
                ("no_such_folder", "`driftless folder ls` lists the folders")
            }
            AccountError::FolderNameTaken(_) => {
                ("name_taken", "give another --name, or sync that one with `driftless folder link`")
            }
            AccountError::NoSuchDevice(_) => {
                ("no_such_device", "`driftless devices` lists the devices")
            }
            AccountError::AmbiguousDevice(_) => {
                ("ambiguous_device", "give the first digits of its id from `driftless devices`")
            }
            AccountError::RevokeSelf => ("revoke_self", "revoke it on another device"),
            AccountError::Contended(_) => ("busy", RETRY),
        };
        Self::new(kind, message, hint)
    }
}

fn trust_failure(error: &TrustError) -> Failure {
    let message = error.to_string();
    match error {
        TrustError::InvitationKnown(_)
        | TrustError::InvitationUnknown(_)
        | TrustError::InvitationUsed(_)
        | TrustError::InvitationVoided(_)
        | TrustError::InvitationExpired(_)
        | TrustError::InvitationKind(_) => {
            let (kind, hint) = refusal_kind(RefusalCode::InvitationInvalid);
            Failure::new(kind, message, hint)
        }
        TrustError::Label(_) => Failure::new(
            "bad_name",
            message,
            "give a name of 1 to 128 bytes without control characters",
        ),
        TrustError::TooLarge { .. } | TrustError::LogFull => Failure::new("too_many", message, ""),
        TrustError::LastDevice => Failure::new("last_device", message, ""),
        _ => {
            Failure::new("untrusted", message, "do not go on with this server before you know why")
        }
    }
}

impl From<JoinCodeError> for Failure {
    fn from(error: JoinCodeError) -> Self {
        let hint = match error {
            JoinCodeError::Version(_) | JoinCodeError::Kind(_) => "update driftless",
            _ => "copy the whole line that `driftless invite` printed",
        };
        Self::new("bad_code", error.to_string(), hint)
    }
}

impl From<RootError> for Failure {
    fn from(error: RootError) -> Self {
        let (kind, hint) = match &error {
            RootError::Nested { relation: Relation::Same, .. } => (
                "nested_folder",
                "there is nothing to add; `driftless folder ls` lists the folders".to_owned(),
            ),
            RootError::Nested { .. } => (
                "nested_folder",
                "folders do not lie in each other: choose another directory".to_owned(),
            ),
            RootError::ForeignMarker { directory } => (
                "foreign_marker",
                format!(
                    "choose another directory; if no device syncs it any more, remove {}",
                    directory.join(common::name::PRIVATE_DIRECTORY).display()
                ),
            ),
            RootError::NotUtf8 { .. } => {
                ("usage", "choose a directory whose path is UTF-8".to_owned())
            }
            RootError::Home { .. } => {
                ("nested_folder", "choose another directory, or another --home".to_owned())
            }
            RootError::Io { .. } | RootError::Fs { .. } => {
                ("directory", "look at the directory, its owner and its permissions".to_owned())
            }
        };
        Self::new(kind, error.to_string(), hint)
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let message = error.to_string();
        let (kind, hint) = match error {
            AskError::NotLetIn(error) => return error.into(),
            AskError::SideGone { path, revision } => {
                return Self::new("side_gone", message, side_gone(&path, revision));
            }
            AskError::IsBundle(_)
            | AskError::NoBundle(_)
            | AskError::InBundle { .. }
            | AskError::NotInBundle { .. }
            | AskError::NeverMerged(_) => return of_bundle(&error),
            AskError::NoSuchPath(_) => ("no_such_path", "`driftless ls` lists what is synced"),
            AskError::NoSuchRevision { .. } => {
                ("no_such_revision", "`driftless log PATH` lists the versions")
            }
            AskError::InTheWay(_) => ("in_the_way", "move it away, or restore beside it with --to"),
            AskError::BeforeBeginning { first_ms } => {
                return Self::new("no_such_moment", message, begun(first_ms));
            }
            AskError::NoMoment { .. }
            | AskError::InTheFuture { .. }
            | AskError::NotHeardYet { .. } => not_lived(&error),
            AskError::NotThere { .. } => (
                "no_such_path",
                "`driftless ls --at TIME` lists what was there; of what was deleted at exactly \
                     this revision, `--rev` with it means what was there just before",
            ),
            AskError::Unreadable(_) => {
                ("unreadable", "`driftless log PATH` lists the versions: choose another one")
            }
            AskError::NoHistory(_) => (
                "no_history",
                "after `driftless sync` it has one, unless it is ignored; `driftless status` lists \
                 what cannot be synced",
            ),
            AskError::IsDirectory(_) => (
                "is_directory",
                "`driftless ls PATH --at R` lists what lay in it, `driftless diff PATH --rev R` what is \
                 different since, and `driftless restore PATH --rev R --to DEST` writes all of it to a \
                 new directory",
            ),
            AskError::Exists(_) => ("exists", "give a path at which nothing is yet"),
            AskError::NoConflict(_) => ("no_conflict", "`driftless conflicts` lists what is open"),
            AskError::LabelExists(_)
            | AskError::NoSuchLabel(_)
            | AskError::NoSuchMoment(_)
            | AskError::NotMine { .. }
            | AskError::NotMergeable { .. }
            | AskError::NotClean { .. }
            | AskError::BadContent(_)
            | AskError::MarksLeft(_) => choice(&error),
            AskError::Unsynced(_) => ("unsynced", "wait for `driftless sync`, then try again"),
            AskError::Offline(_) => {
                ("offline", "see that the server runs and that its UDP port can be reached")
            }
            AskError::Refused(_) => ("refused", ""),
            AskError::Disk(_) => ("disk", "look at the disk and at the path"),
            AskError::NothingToConfirm => (
                "nothing_to_confirm",
                "`driftless status` shows what a folder waits for, if it does",
            ),
            AskError::Stopped => ("no_such_folder", "`driftless folder ls` lists the folders"),
            AskError::NotRunning | AskError::Engine(_) => {
                ("engine", "`driftless status` says more")
            }
        };
        Self::new(kind, message, hint)
    }
}

/// Since when something is known of a folder.
fn begun(first_ms: u64) -> String {
    match first_ms {
        0 => "nothing has been synced to it yet".to_owned(),
        first_ms => format!("what is known begins {}", super::times::in_words(first_ms)),
    }
}

/// Kind and hint of a moment that the folder, or this device, has not come to.
fn not_lived(error: &AskError) -> (&'static str, &'static str) {
    match error {
        AskError::InTheFuture { .. } => (
            "no_such_moment",
            "`now` is the newest moment; if that time has passed, set the clock of this device",
        ),
        AskError::NotHeardYet { .. } => ("not_heard", "wait for `driftless sync`, then try again"),
        _ => ("no_such_moment", "`driftless log` lists the folder's revisions"),
    }
}

/// Kind and hint of what a person has chosen, about labels and conflicts, and cannot be.
fn choice(error: &AskError) -> (&'static str, &'static str) {
    match error {
        AskError::LabelExists(_) => {
            ("exists", "choose another name, or take that one away with `driftless label rm`")
        }
        AskError::NoSuchLabel(_) => ("no_such_label", "`driftless label ls` lists them"),
        AskError::NoSuchMoment(_) => {
            ("no_such_revision", "`driftless log PATH` lists revisions; thinned ones are gone")
        }
        AskError::NotMine { .. } => {
            ("not_mine", "choose with --keep original, --keep copy or --keep both")
        }
        AskError::NotMergeable { .. } => (
            "not_mergeable",
            "choose a side with --keep; of two files, --with FILE gives what both become",
        ),
        AskError::NotClean { .. } => (
            "not_clean",
            "run it on a terminal with $EDITOR set to merge by hand, or give what both become \
             with --with FILE",
        ),
        AskError::BadContent(_) => {
            ("bad_content", "give a regular file to which nothing is written meanwhile")
        }
        AskError::MarksLeft(_) => (
            "marks_left",
            "between <<<<<<< and >>>>>>> leave the lines that are right, and no mark, nor a line of \
             seven = alone",
        ),
        _ => ("refused", ""),
    }
}

/// What was asked of a bundle, or of something in one, and cannot be.
fn of_bundle(error: &AskError) -> Failure {
    let (kind, hint) = match error {
        AskError::IsBundle(path) => (
            "is_bundle",
            format!(
                "`driftless cat '{path}/FILE' --rev R` in the folder prints a file in it, and \
                 `driftless restore '{path}' --rev R --to DEST` writes all of it to a new directory"
            ),
        ),
        AskError::NoBundle(_) => (
            "no_bundle",
            "`driftless cat PATH --rev R` prints a version of a file, and `driftless restore PATH \
             --rev R --to DEST` writes one of anything, to be compared by any program"
                .to_owned(),
        ),
        AskError::InBundle { path, bundle } => (
            "in_bundle",
            format!(
                "name the bundle, '{bundle}'; `driftless restore '{path}' --rev R --to DEST` in the \
                 folder writes this part of it beside"
            ),
        ),
        AskError::NotInBundle { bundle, .. } => (
            "no_such_path",
            format!(
                "`driftless diff '{bundle}' --rev R` in the folder lists what differs in it since, \
                 and `driftless restore '{bundle}' --rev R --to DEST` writes all that was in it"
            ),
        ),
        AskError::NeverMerged(_) => (
            "not_mergeable",
            "choose with --keep mine, --keep theirs or --keep both; `driftless conflicts --diff` \
             shows what each side changed"
                .to_owned(),
        ),
        _ => ("refused", String::new()),
    };
    Failure::new(kind, error.to_string(), hint)
}

/// What to do about a side of a conflict that is to be kept and was deleted.
fn side_gone(path: &str, revision: Option<Revision>) -> String {
    let left = "`--keep mine` or `--keep theirs` for the side that is left closes the conflict";
    match revision {
        Some(revision) if !path.is_empty() => format!(
            "`driftless restore '{path}' --rev {revision}` in the folder brings it back, to be \
             resolved then; {left}"
        ),
        _ => left.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_of_a_conflict_that_is_gone_is_told_with_what_brings_it_back() {
        let gone = AskError::SideGone { path: "d/i (conflict)".into(), revision: Some(7) };
        let failure = Failure::from(gone);
        assert_eq!(failure.kind, "side_gone");
        assert!(failure.message.contains("d/i (conflict)"), "{}", failure.message);
        let restore = "driftless restore 'd/i (conflict)' --rev 7";
        assert!(failure.hint.contains(restore), "{}", failure.hint);
    }
}
