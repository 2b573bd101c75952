//! What an administrator may ask of a running server.
//!
//! Owns join codes of first devices, the status, and the way to garbage collection, checks and
//! backups. It must not know how it was asked.

use super::error::explained;
use super::within::is_within;
use crate::background::{
    AtOnce, BackupError, BackupReport, CheckReport, Collector, GcParts, GcReport, Identity,
    Problem, back_up, check,
};
use crate::chunk_store::{OpenError, StoreState};
use crate::control::{Admin, Failure, Invitation, MetadataStatus, Status, StorageStatus};
use crate::service::{Service, Thinned, rfc3339};
use async_trait::async_trait;
use common::trust::{JoinCode, JoinCodeError, JoinKind};
use common::wire::meta::Refusal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A new join code.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The code: a secret.
    pub code: JoinCode,
    /// From when on it is void, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A join code that was not made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The system gave no randomness.
    #[error("the system gives no random bytes for a join code")]
    NoEntropy,
    /// The metadata service refused: too many are open, the life is too long, the disk is full.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

/// What the running server and its control socket share.
pub(super) struct Core {
    pub(super) service: Service,
    pub(super) gc: GcParts,
    pub(super) collector: Arc<Collector>,
    pub(super) identity: Identity,
    pub(super) data: PathBuf,
    pub(super) local_addr: SocketAddr,
    pub(super) addresses: Vec<String>,
}

impl Core {
    /// Checks that join codes can be made of the addresses.
    pub(super) fn new(
        service: Service,
        gc: GcParts,
        (data, identity): (&Path, Identity),
        local_addr: SocketAddr,
        addresses: Vec<String>,
    ) -> Result<Self, JoinCodeError> {
        let collector = Arc::new(Collector::new(gc.clone()));
        let core =
            Self { service, gc, collector, identity, data: data.to_owned(), local_addr, addresses };
        core.code([0; 32]).check()?;
        Ok(core)
    }

    fn code(&self, secret: [u8; 32]) -> JoinCode {
        JoinCode {
            kind: JoinKind::Bootstrap,
            addresses: self.addresses.clone(),
            cluster: self.service.cluster(),
            secret,
        }
    }

    pub(super) async fn mint_bootstrap(&self, life_ms: u64) -> Result<Minted, MintError> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| MintError::NoEntropy)?;
        let code = self.code(secret);
        let expires_ms = self.service.now_ms().saturating_add(life_ms);
        let opened = self.service.open_bootstrap(code.lookup(), expires_ms).await;
        opened.map_err(MintError::Refused)?;
        Ok(Minted { code, expires_ms })
    }
}

#[async_trait]
impl Admin for Core {
    async fn invite(&self, life_ms: u64) -> Result<Invitation, Failure> {
        let minted = self.mint_bootstrap(life_ms).await.map_err(|error| Failure {
            kind: "invite".to_owned(),
            message: error.to_string(),
            hint: "the server's log says more".to_owned(),
        })?;
        Ok(Invitation {
            code: minted.code.to_string(),
            folder: None,
            expires: rfc3339(minted.expires_ms),
        })
    }

    async fn status(&self) -> Result<Status, Failure> {
        let stats = self.gc.chunks.stats().await;
        let state = match stats.state {
            StoreState::Open => "open",
            StoreState::Full => "full",
            StoreState::Stopped { .. } => "stopped",
            StoreState::Closed => "closed",
        };
        let metadata = if self.service.is_stopped() { "stopped" } else { "serving" };
        Ok(Status {
            cluster: self.service.cluster().to_string(),
            address: self.local_addr.to_string(),
            metadata: MetadataStatus { state: metadata.to_owned() },
            storage: StorageStatus {
                state: state.to_owned(),
                chunks: stats.chunks,
                bytes: stats.bytes,
                free_bytes: stats.free_bytes,
            },
        })
    }

    async fn gc(&self, dry_run: bool, grace_ms: u64) -> Result<GcReport, Failure> {
        if dry_run {
            let ran = self.collector.preview(grace_ms, &AtOnce).await;
            return ran.map_err(|error| failure("gc", &error));
        }
        // What retention lets go of is garbage from now on.
        let thinned = self.service.thin_all().await;
        let ran = self.collector.run(grace_ms, &AtOnce).await;
        let mut report = ran.map_err(|error| failure("gc", &error))?;
        note_thinned(&mut report, thinned);
        Ok(report)
    }

    async fn check(&self) -> Result<CheckReport, Failure> {
        let checked = check(&self.collector, &self.gc, &AtOnce).await;
        checked.map_err(|error| failure("check", &error))
    }

    async fn backup(&self, to: &Path) -> Result<BackupReport, Failure> {
        // The chunks may lie on another disk, behind a link.
        let own = [self.data.clone(), self.data.join("chunks")];
        let path = to.to_owned();
        let find = move || own.into_iter().find(|directory| is_within(&path, directory));
        let looked = self.gc.work.run(find).await;
        if let Some(data) = looked.map_err(|error| no_backup(&BackupError::Interrupted(error)))? {
            let path = to.to_owned();
            return Err(no_backup(&BackupError::OfItself { path, data }));
        }
        let done = back_up(&self.collector, &self.gc, &self.identity, to, &AtOnce).await;
        done.map_err(|error| no_backup(&error))
    }
}

/// What was not thinned is garbage only after a later run, and the rest was collected all the same.
fn note_thinned(report: &mut GcReport, thinned: Result<Thinned, Refusal>) {
    let what = |refusal: Refusal| format!("its history was not thinned: {}", refusal.message);
    match thinned {
        Ok(thinned) => {
            (report.thinned, report.held) = (thinned.versions, thinned.held);
            for (folder, refusal) in thinned.failed {
                report.problems.note(Problem::new(Some(&folder), None, &what(refusal)));
            }
        }
        Err(refusal) => report.problems.note(Problem::new(None, None, &what(refusal))),
    }
}

fn failure(kind: &str, error: &dyn std::error::Error) -> Failure {
    let hint = "what was done so far stands; look at the disk and at the server's log".to_owned();
    Failure { kind: kind.to_owned(), message: explained(error), hint }
}

fn no_backup(error: &BackupError) -> Failure {
    let hint = match error {
        BackupError::OfItself { .. } => "give a directory elsewhere, best on another disk",
        BackupError::NotABackup { .. }
        | BackupError::OfAnother { .. }
        | BackupError::Mixed { .. }
        | BackupError::Incomplete { .. }
        | BackupError::Unreadable { .. } => "give a directory that is not there yet",
        BackupError::Chunks(OpenError::Locked { .. }) => {
            "another backup is being made there: wait for it, or give another directory"
        }
        BackupError::Full { .. } => {
            "make room there and try again: what was copied is not copied anew"
        }
        BackupError::Chunks(_)
        | BackupError::Target { .. }
        | BackupError::Copy { .. }
        | BackupError::Open { .. }
        | BackupError::Read { .. }
        | BackupError::Io(_) => {
            "look at that directory's owner, its permissions and its disk, and try again"
        }
        BackupError::Store(_) => "look at the server's disk and at its log",
        BackupError::Interrupted(_) => "look at the server's log",
    };
    Failure { hint: hint.to_owned(), ..failure("backup", error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::{Amount, GcError};
    use crate::meta_store::MetaError;
    use common::ids::FolderId;
    use common::wire::meta::RefusalCode;

    #[test]
    fn what_was_not_thinned_is_a_problem_of_a_run_that_went_on() {
        let folder = FolderId::from_bytes([1; 32]);
        let refusal = || Refusal::new(RefusalCode::Busy, "the disk");
        let mut report = GcReport { purged: Amount { chunks: 2, bytes: 3 }, ..GcReport::default() };
        let failed = vec![(folder, refusal())];
        note_thinned(&mut report, Ok(Thinned { folders: 2, held: 1, versions: 5, failed }));
        assert_eq!((report.thinned, report.held, report.purged.chunks), (5, 1, 2));
        note_thinned(&mut report, Err(refusal()));
        let told =
            report.problems.problems.iter().map(|it| (it.folder.clone(), it.problem.clone()));
        let said = "its history was not thinned: the disk".to_owned();
        let expected = [(folder.to_string(), said.clone()), (String::new(), said)];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_hint_of_a_backup_that_failed_is_about_what_failed() {
        let path = || "/mnt/backup".into();
        let cluster = "0a".to_owned();
        let cases = [
            (BackupError::OfAnother { path: path(), cluster }, "not there yet"),
            (BackupError::Full { path: path() }, "make room there"),
            (BackupError::Chunks(OpenError::Locked { directory: path() }), "wait for it"),
            (BackupError::Store(GcError::Metadata(MetaError::Stopped)), "the server's disk"),
        ];
        for (error, hint) in cases {
            let failure = no_backup(&error);
            assert!(failure.hint.contains(hint), "{failure:?}");
            assert!(!failure.message.contains("garbage"), "{failure:?}");
        }
    }
}
