//! Carrying out commands.
//!
//! Owns the rules. Everything is judged before anything is written, so that a refused command has
//! written nothing; a commit's groups are judged one by one, each with its own savepoint. It must
//! not know how the store's transaction begins, ends or is made durable.

mod draft;
mod folders;
mod group;
mod invitations;
mod labels;
mod proof;
mod requests;
mod thin;
mod users;
mod write;

use super::command::{Action, Command};
use super::outcome::{Answer, Event, Outcome, Refused};
use super::store::{MetaReads, MetaStore, StoreError, Stored};
use common::ids::{DeviceId, UserId};

/// Carries out one command on the state, inside a transaction that the caller began.
///
/// Nobody may be told of the outcome before the caller has made the transaction durable.
///
/// # Errors
/// What the store says. The caller then rolls its transaction back: part of the command may have
/// been written. A command that is refused is no error: see [`Outcome::answer`].
pub fn apply(store: &mut dyn MetaStore, command: &Command) -> Stored<Outcome> {
    let mut events = Vec::new();
    match carry_out(store, command, &mut events) {
        Ok(answer) => Ok(Outcome { answer: Ok(answer), events }),
        Err(Stop::Refused(refused)) => Ok(Outcome { answer: Err(refused), events: Vec::new() }),
        Err(Stop::Store(error)) => Err(error),
    }
}

fn carry_out(
    store: &mut dyn MetaStore,
    command: &Command,
    events: &mut Vec<Event>,
) -> Result<Answer, Stop> {
    let now = command.time_ms;
    match &command.action {
        Action::OpenBootstrap { lookup, expires_ms } => {
            invitations::open_bootstrap(store, now, lookup, *expires_ms)?;
        }
        Action::RedeemBootstrap { device, lookup, genesis, quota } => {
            let joining = invitations::Joining { device, lookup, record: genesis };
            invitations::redeem_bootstrap(store, now, &joining, quota, events)?;
        }
        Action::AppendLog { device, record } => {
            users::append_log(store, device, record, events)?;
        }
        Action::OpenInvitation { device, record, blob } => {
            invitations::open(store, now, device, record, blob, events)?;
        }
        Action::RedeemInvitation { device, lookup, record } => {
            let joining = invitations::Joining { device, lookup, record };
            invitations::redeem(store, now, &joining, events)?;
        }
        Action::PutKeyring { device, version, sealed } => {
            users::put_keyring(store, device, *version, sealed)?;
        }
        Action::CreateFolder { device, genesis } => {
            folders::create(store, now, device, genesis, events)?;
        }
        Action::PutCheckpoint { device, checkpoint } => {
            folders::put_checkpoint(store, device, checkpoint)?;
        }
        Action::Commit(commit) => {
            return Ok(Answer::Groups(group::commit(store, now, commit, events)?));
        }
        Action::SetQuota { user, quota } => users::set_quota(store, user, quota)?,
        Action::BeginEpoch => folders::begin_epoch(store, now, events)?,
        Action::BeginGeneration { generation } => folders::begin_generation(store, *generation)?,
        Action::ChangeObjects { folder, changes } => {
            super::reclaim::change_objects(store, folder, changes)?;
        }
        Action::SeeDevices { seen } => users::see_devices(store, seen)?,
        Action::NotePositions { positions } => folders::note_positions(store, positions)?,
        Action::MoveHorizon { folder, settings, whole } => {
            thin::move_horizon(store, folder, *settings, whole)?;
        }
        Action::Release { folder, entries } => {
            return Ok(Answer::Released { versions: thin::release(store, folder, entries)? });
        }
    }
    Ok(Answer::Done)
}

/// Why a command stops: it is refused, or the store failed.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Refused),
    Store(StoreError),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The user of a device that is enrolled now.
fn user_of(store: &(impl MetaReads + ?Sized), device: &DeviceId) -> Result<UserId, Stop> {
    match super::query::enrolled(store, device)? {
        Some(state) => Ok(state.user),
        None => Err(Refused::NotEnrolled(*device).into()),
    }
}
