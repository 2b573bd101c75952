//! From fates to steps: what each planned entry asks for on the disk and at the server.
//!
//! Owns how a fate is written as steps and changes. It must not order them.

use super::merge::{Fate, Merge, Placement};
use super::moves::{conflict_position, free_position, way_back};
use super::names::{Claim, Dispute, claim, fresh_id};
use super::round::Round;
use super::schedule::{Effect, Member, Output};
use super::steps::{Change, Destination, Issue, IssueKind, PushGroup, Step};
use crate::tree::{ContentState, Kind, LocalNode, Position, RemoteNode};
use common::ids::EntryId;
use std::collections::BTreeMap;

/// Everything that the planned entries ask for.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Deletions that are taken back, before anything else.
    pub(super) kept: Vec<Step>,
    /// Steps that touch no tree but the synced one, or only ids, by the batch that they belong to.
    pub(super) books: BTreeMap<usize, Vec<Step>>,
    /// Steps on contents alone; they need nothing and nothing needs them.
    pub(super) contents: Vec<(EntryId, Step)>,
    /// Steps on the disk's tree.
    pub(super) local: Vec<Member>,
    /// Changes of the server's tree.
    pub(super) remote: Vec<Member>,
    /// Entries of `remote` that belong into one group.
    pub(super) together: Vec<(EntryId, EntryId)>,
    /// What cannot be.
    pub(super) issues: Vec<Issue>,
}

/// Writes the fates down. `adoptions` says how deep in adopted directories each adoption lies.
pub(super) fn wishes(round: &mut Round<'_>, adoptions: &BTreeMap<EntryId, usize>) -> Wishes {
    let mut wishes = Wishes::default();
    for entry in round.planned() {
        let fate = round.fates[&entry].clone();
        match fate {
            Fate::InSync | Fate::Adopted => {}
            Fate::Adopt(remote) => {
                let depth = adoptions.get(&entry).copied().unwrap_or(0);
                wishes.books.entry(depth).or_default().push(Step::Adopt { local: entry, remote });
            }
            Fate::Keep => wishes.kept.push(Step::Keep { entry }),
            _ if waits_for_parent(round, &entry) => wait(round, entry),
            Fate::Settle => wishes.book(Step::Settle { entry }),
            Fate::Forget => wishes.book(Step::Forget { entry }),
            Fate::Wait => wait(round, entry),
            Fate::Detach => detach(round, &mut wishes, entry),
            Fate::Upload | Fate::Revive { .. } => bring(round, &mut wishes, entry, &fate),
            Fate::DeleteLocal => delete_local(round, &mut wishes, entry),
            Fate::DeleteRemote => delete_remote(round, &mut wishes, entry),
            Fate::Download => place_here(round, &mut wishes, entry),
            Fate::Both { place, content } => both(round, &mut wishes, entry, place, content),
        }
    }
    wishes
}

impl Wishes {
    fn book(&mut self, step: Step) {
        self.books.entry(0).or_default().push(step);
    }

    fn on_disk(&mut self, entry: EntryId, rank: u64, effect: Effect, step: Step) {
        let output = Output::Local(step);
        self.local.push(Member { entry, subject: entry, rank, effect, output });
    }

    fn at_server(&mut self, entry: EntryId, rank: u64, effect: Effect, changes: Vec<Change>) {
        let output = Output::Push(changes);
        self.remote.push(Member { entry, subject: entry, rank, effect, output });
    }
}

fn wait(round: &mut Round<'_>, entry: EntryId) {
    round.waiting.insert(entry);
}

/// Whether the directory that an entry stands in changes its id in this round.
fn waits_for_parent(round: &Round<'_>, entry: &EntryId) -> bool {
    !round.renumbered.contains(entry) && round.is_renumbered(entry)
}

fn detach(round: &Round<'_>, wishes: &mut Wishes, entry: EntryId) {
    if let Some(local) = &round.trees.get(&entry).local {
        let fresh = fresh_id(round, &entry, local.kind);
        wishes.book(Step::Detach { entry, fresh });
    }
}

/// An entry that is here and not (or no longer) at the server goes there.
fn bring(round: &mut Round<'_>, wishes: &mut Wishes, entry: EntryId, fate: &Fate) {
    let trio = round.trees.get(&entry);
    let (Some(local), Some(content)) = (&trio.local, trio.local.as_ref().and_then(|n| n.content))
    else {
        return wait(round, entry);
    };
    if trio.is_parked() {
        let to = way_back(round, &entry);
        return move_here(round, wishes, local, to);
    }
    let at = local.position.clone();
    let claim = claim(round, &entry, &at);
    let changes = match &trio.remote {
        Some(tombstone) => revive(&entry, &at, &content, tombstone),
        None => vec![Change::Create { entry, at: at.clone(), content }],
    };
    if let Fate::Revive { child: Some(child) } = fate {
        wishes.together.push((entry, *child));
    }
    settle_claim(round, wishes, local, claim, content, changes);
}

fn revive(
    entry: &EntryId,
    at: &Position,
    content: &ContentState,
    tombstone: &RemoteNode,
) -> Vec<Change> {
    let entry = *entry;
    let mut changes =
        vec![Change::Revive { entry, at: at.clone(), base: tombstone.place_revision }];
    if tombstone.kind != Kind::Directory && tombstone.content.tag != content.tag {
        let base = tombstone.content_revision;
        changes.push(Change::Edit { entry, content: *content, base });
    }
    changes
}

/// Sends `changes`, which place an entry where it stands here, if it gets the name.
fn settle_claim(
    round: &mut Round<'_>,
    wishes: &mut Wishes,
    local: &LocalNode,
    claim: Claim,
    content: ContentState,
    changes: Vec<Change>,
) {
    let entry = local.entry;
    let at = local.position.clone();
    match claim {
        Claim::Free => wishes.at_server(entry, 0, Effect::Place(at), changes),
        Claim::With(holder) => {
            wishes.together.push((entry, holder));
            wishes.at_server(entry, 0, Effect::Place(at), changes);
        }
        Claim::Copy(holder) => copy(round, wishes, local, holder, content),
        Claim::Rename => {
            let to = conflict_position(round, &entry, &at);
            round.promised.insert(to.clone());
            move_here(round, wishes, local, to);
        }
        Claim::Wait => wait(round, entry),
    }
}

/// The local node becomes a conflict copy beside `keeper`, which keeps the name that it has at the
/// server.
fn copy(
    round: &mut Round<'_>,
    wishes: &mut Wishes,
    local: &LocalNode,
    keeper: EntryId,
    content: ContentState,
) {
    let keeper_trio = round.trees.get(&keeper);
    let Some(kept) = keeper_trio.live() else {
        return wait(round, local.entry);
    };
    let theirs = kept.content_revision;
    let dispute = Dispute {
        local: local.entry,
        entry: keeper,
        base: keeper_trio.base().map(|base| base.content_revision),
        theirs,
        tag: content.tag,
    };
    let (copy, conflict) = dispute.ids(round, local.kind);
    let at = conflict_position(round, &copy, &kept.position);
    round.promised.insert(at.clone());
    let change = Change::ConflictCopy {
        local: local.entry,
        copy,
        at: at.clone(),
        content,
        entry: keeper,
        base: dispute.base,
        theirs,
        conflict,
    };
    wishes.remote.push(Member {
        entry: copy,
        subject: local.entry,
        rank: 0,
        effect: Effect::Place(at),
        output: Output::Push(vec![change]),
    });
}

fn delete_local(round: &Round<'_>, wishes: &mut Wishes, entry: EntryId) {
    if let Some(local) = &round.trees.get(&entry).local {
        let step = Step::Delete { entry, at: local.position.clone(), seen: local.content };
        wishes.on_disk(entry, 0, Effect::Remove, step);
    }
}

fn delete_remote(round: &Round<'_>, wishes: &mut Wishes, entry: EntryId) {
    if let Some(remote) = round.trees.get(&entry).live() {
        let change = Change::Delete {
            entry,
            place_base: remote.place_revision,
            content_base: remote.content_revision,
        };
        wishes.at_server(entry, 0, Effect::Remove, vec![change]);
    }
}

/// Makes an entry where the server has it, or moves it there.
fn place_here(round: &mut Round<'_>, wishes: &mut Wishes, entry: EntryId) {
    let trio = round.trees.get(&entry);
    let Some(remote) = trio.live() else { return wait(round, entry) };
    let at = remote.position.clone();
    if !holds_entries(round, &at.parent) {
        return wait(round, entry);
    }
    if at.name.problem_on(round.policy.platform).is_some() {
        wishes.issues.push(Issue { entry, kind: IssueKind::NameNotHeld });
        return wait(round, entry);
    }
    let step = match &trio.local {
        None => Step::Create { entry, kind: remote.kind, at: at.clone() },
        Some(local) => {
            let to = match at_reach(round, &trio, &entry, &at) {
                Some(aside) => aside,
                None => at.clone(),
            };
            return wishes.on_disk(
                entry,
                remote.place_revision,
                Effect::Place(to.clone()),
                Step::Move { entry, from: local.position.clone(), to: Destination::Position(to) },
            );
        }
    };
    wishes.on_disk(entry, remote.place_revision, Effect::Place(at), step);
}

/// Where a parked entry goes when its place is held by something that cannot be judged, perhaps
/// for long: nobody should have to look for it among Driftless' own files.
fn at_reach(
    round: &mut Round<'_>,
    trio: &super::trees::Trio,
    entry: &EntryId,
    at: &Position,
) -> Option<Position> {
    let holder = round.trees.view().local_at(at).filter(|holder| holder != entry)?;
    let is_stuck =
        round.trees.get(&holder).local.as_ref().is_some_and(|node| node.content.is_none());
    (trio.is_parked() && is_stuck).then(|| free_position(round, entry, at.clone()))
}

/// Whether the server's parent of an entry is something that holds entries, here as there, under
/// the same id from now on.
fn holds_entries(round: &Round<'_>, parent: &EntryId) -> bool {
    let trio = round.trees.get(parent);
    *parent == EntryId::ROOT
        || (!round.renumbered.contains(parent)
            && trio.live().is_some_and(|node| node.kind == Kind::Directory)
            && trio.local.as_ref().is_none_or(|node| node.kind == Kind::Directory))
}

fn both(
    round: &mut Round<'_>,
    wishes: &mut Wishes,
    entry: EntryId,
    place: Placement,
    content: Merge,
) {
    let trio = round.trees.get(&entry);
    let (Some(local), Some(remote)) = (&trio.local, trio.live()) else {
        return wait(round, entry);
    };
    if let (Merge::Conflict, Some(content)) = (content, local.content)
        && place != Placement::Local
    {
        // Before it is moved: the way to its place may be barred, and what was written here must
        // not wait for that.
        return copy(round, wishes, local, entry, content);
    }
    let edit = local.content.filter(|_| content == Merge::Push).map(|content| Change::Edit {
        entry,
        content,
        base: remote.content_revision,
    });
    match place {
        Placement::Agreed => {}
        Placement::Remote => place_here(round, wishes, entry),
        Placement::Local => {
            let Some(state) = local.content else { return wait(round, entry) };
            let to = local.position.clone();
            let claim = claim(round, &entry, &to);
            let sent = matches!(claim, Claim::Free | Claim::With(_));
            let mut changes = vec![Change::Move { entry, to, base: remote.place_revision }];
            changes.extend(edit.clone().filter(|_| sent));
            settle_claim(round, wishes, local, claim, state, changes);
            if sent && edit.is_some() {
                return;
            }
        }
    }
    let content_step = match (content, local.content) {
        (Merge::Agreed, _) => return,
        (Merge::Push, _) => edit.map(|edit| Step::Push(PushGroup { changes: vec![edit] })),
        (Merge::Replace, Some(seen)) => Some(Step::Replace { entry, seen }),
        (Merge::Attributes, Some(seen)) => Some(Step::SetAttributes { entry, seen }),
        _ => None,
    };
    match content_step {
        Some(step) => wishes.contents.push((entry, step)),
        None => wait(round, entry),
    }
}

fn move_here(round: &mut Round<'_>, wishes: &mut Wishes, local: &LocalNode, to: Position) {
    if round.renumbered.contains(&to.parent) {
        return wait(round, local.entry);
    }
    let step = Step::Move {
        entry: local.entry,
        from: local.position.clone(),
        to: Destination::Position(to.clone()),
    };
    wishes.on_disk(local.entry, 0, Effect::Place(to), step);
}
