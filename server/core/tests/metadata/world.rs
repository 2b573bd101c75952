//! A user with devices and a folder on any store, and short ways to make and commit groups.
//!
//! Owns keys from fixed seeds and a clock that only tests move. It must not know which store.

use common::ids::{
    ChunkId, ClusterId, ConflictId, ContentTag, DeviceId, EntryId, FolderId, Head, NameTag,
    RequestId, UserId,
};
use common::record::{Change, Content, Group, Kind, Place, Root, SignedGroup};
use common::revision::Revision;
use common::trust::{
    DeviceKeys, DeviceLog, FolderGenesis, JoinCode, JoinKind, NewDevice, RecoveryKey, UserSecrets,
    genesis_record, invitation_record, redeem_record,
};
use common::wire::meta::RejectionCode;
use server_core::metadata::{
    Action, Answer, Command, EntryState, GroupOutcome, MetaStore, Outcome, PreparedCommit, Quota,
    Receipt, Refused, apply, query,
};
use std::collections::BTreeMap;

/// When everything here begins, in milliseconds since 1970.
pub(crate) const BEGAN_MS: u64 = 1_000_000;
/// How long invitations here live.
pub(crate) const LIFE_MS: u64 = 60_000;

/// A device of the world's user.
pub(crate) struct Member {
    pub(crate) keys: DeviceKeys,
    pub(crate) incarnation: u64,
    pub(crate) counter: u64,
}

/// One user, its devices and one folder.
pub(crate) struct World<S> {
    pub(crate) store: S,
    pub(crate) now_ms: u64,
    pub(crate) user: UserId,
    pub(crate) folder: FolderId,
    pub(crate) members: Vec<Member>,
    secrets: UserSecrets,
}

pub(crate) fn code(kind: JoinKind, number: u8) -> JoinCode {
    JoinCode {
        kind,
        addresses: vec!["127.0.0.1:4747".to_owned()],
        cluster: ClusterId::from_bytes([1; 32]),
        secret: [number; 32],
    }
}

pub(crate) fn member(number: u8) -> Member {
    let keys = DeviceKeys::from_seed([number; 32]);
    Member { keys, incarnation: u64::from(number) << 56, counter: 0 }
}

/// A genesis record of the device with this number.
pub(crate) fn genesis(number: u8) -> Vec<u8> {
    let keys = member(number).keys;
    let secrets = UserSecrets::first([100; 32]);
    let new = NewDevice { keys: &keys, label: "first", secrets: &secrets, seed: [number; 32] };
    let recovery = RecoveryKey::from_seed([200; 32]).public();
    genesis_record(&new, &recovery, BEGAN_MS).unwrap()
}

/// An entry id of few words.
pub(crate) fn entry(number: u8) -> EntryId {
    EntryId::from_bytes([number; 16])
}

pub(crate) fn conflict(number: u8) -> ConflictId {
    ConflictId::from_bytes([number; 16])
}

/// A place by a name that is not sealed here: to the service it is bytes either way.
pub(crate) fn place(parent: EntryId, name: &str) -> Place {
    let tag = blake3::hash(&[parent.as_bytes(), name.as_bytes()].concat());
    Place { parent, name: name.as_bytes().to_vec(), name_tag: NameTag::from_bytes(*tag.as_bytes()) }
}

/// A content without chunks, which no two numbers share.
pub(crate) fn content(number: u8) -> Content {
    Content { root: None, tag: ContentTag::from_bytes([number; 32]), attributes: vec![number] }
}

/// A content of one object.
pub(crate) fn content_at(number: u8, root: Root) -> Content {
    Content { root: Some(root), ..content(number) }
}

pub(crate) fn create(number: u8, kind: Kind, parent: EntryId, name: &str) -> Change {
    Change::Create {
        entry: entry(number),
        kind,
        place: place(parent, name),
        content: content(number),
    }
}

pub(crate) fn file(number: u8, name: &str) -> Change {
    create(number, Kind::File, EntryId::ROOT, name)
}

pub(crate) fn directory(number: u8, name: &str) -> Change {
    create(number, Kind::Directory, EntryId::ROOT, name)
}

pub(crate) fn edit(number: u8, base: Revision, to: u8) -> Change {
    Change::Edit { entry: entry(number), base, content: content(to) }
}

pub(crate) fn move_to(number: u8, base: Revision, parent: EntryId, name: &str) -> Change {
    Change::Move { entry: entry(number), base, place: place(parent, name) }
}

pub(crate) fn delete(number: u8, place_base: Revision, content_base: Revision) -> Change {
    Change::Delete { entry: entry(number), place_base, content_base }
}

pub(crate) fn revive(number: u8, base: Revision, parent: EntryId, name: &str) -> Change {
    Change::Revive { entry: entry(number), base, place: place(parent, name) }
}

pub(crate) fn receipt(length: u32) -> Receipt {
    Receipt { length, generation: 0 }
}

impl<S: MetaStore> World<S> {
    /// Bootstraps device 1 and makes the folder.
    pub(crate) fn new(store: S) -> Self {
        let mut world = Self {
            store,
            now_ms: BEGAN_MS,
            user: DeviceLog::genesis(&genesis(1)).unwrap().user(),
            folder: FolderId::from_bytes([0; 32]),
            members: vec![member(1)],
            secrets: UserSecrets::first([100; 32]),
        };
        let lookup = code(JoinKind::Bootstrap, 1).lookup();
        let expires_ms = world.now_ms + LIFE_MS;
        world.done(Action::OpenBootstrap { lookup, expires_ms });
        let device = world.device(0);
        let quota = Quota::UNLIMITED;
        world.done(Action::RedeemBootstrap { device, lookup, genesis: genesis(1), quota });
        let (folder, genesis) = world.folder_genesis(0, 1);
        world.folder = folder;
        world.done(Action::CreateFolder { device, genesis });
        world
    }

    /// With a second device.
    pub(crate) fn pair(store: S) -> Self {
        let mut world = Self::new(store);
        world.join(2);
        world
    }

    pub(crate) fn device(&self, at: usize) -> DeviceId {
        self.members[at].keys.device()
    }

    /// The signed genesis of a folder of device `at`, and its id.
    pub(crate) fn folder_genesis(&self, at: usize, nonce: u8) -> (FolderId, Vec<u8>) {
        let device = self.device(at);
        let nonce = [nonce; 32];
        let genesis = FolderGenesis { user: self.user, device, nonce, created_ms: BEGAN_MS };
        let bytes = genesis.sign(&self.members[at].keys.signing);
        (FolderGenesis::id(&bytes), bytes)
    }

    pub(crate) fn log(&self) -> DeviceLog {
        let records = self.store.log_records(&self.user, 0, usize::MAX).unwrap();
        DeviceLog::replay(records.iter().map(Vec::as_slice)).unwrap()
    }

    /// The record by which device 1 opens an invitation of this number.
    pub(crate) fn invitation(&self, number: u8) -> Vec<u8> {
        let signer = &self.members[0].keys.signing;
        let code = code(JoinKind::Device, number);
        let expires_ms = self.now_ms + LIFE_MS;
        invitation_record(&self.log(), signer, &code, expires_ms, self.now_ms).unwrap()
    }

    /// The record by which a device redeems the invitation of its number.
    pub(crate) fn redemption(&self, number: u8, time_ms: u64) -> Vec<u8> {
        let keys = member(number).keys;
        let new =
            NewDevice { keys: &keys, label: "more", secrets: &self.secrets, seed: [number; 32] };
        redeem_record(&self.log(), &code(JoinKind::Device, number), &new, time_ms).unwrap()
    }

    /// Invites and enrols a device.
    pub(crate) fn join(&mut self, number: u8) {
        let (device, record) = (self.device(0), self.invitation(number));
        self.done(Action::OpenInvitation { device, record, blob: vec![number] });
        let record = self.redemption(number, self.now_ms);
        let lookup = code(JoinKind::Device, number).lookup();
        let device = member(number).keys.device();
        self.done(Action::RedeemInvitation { device, lookup, record });
        self.members.push(member(number));
    }

    pub(crate) fn apply(&mut self, action: Action) -> Outcome {
        let command = Command { time_ms: self.now_ms, action };
        apply(&mut self.store, &command).unwrap()
    }

    pub(crate) fn done(&mut self, action: Action) {
        assert_eq!(self.apply(action).answer, Ok(Answer::Done));
    }

    pub(crate) fn refused(&mut self, action: Action) -> Refused {
        self.apply(action).answer.unwrap_err()
    }

    /// A group by device `at` that has seen everything, under its next request id.
    pub(crate) fn group(&mut self, at: usize, changes: Vec<Change>) -> Group {
        let folder = self.store.folder(&self.folder).unwrap().unwrap();
        let device_log_head = self.store.user(&self.user).unwrap().unwrap().log_head;
        let member = &mut self.members[at];
        member.counter += 1;
        Group {
            folder: self.folder,
            epoch: folder.epoch,
            user: self.user,
            device: member.keys.device(),
            request: RequestId { incarnation: member.incarnation, counter: member.counter },
            seen_revision: folder.revision,
            seen_head: folder.head,
            device_log_head,
            changes,
        }
    }

    pub(crate) fn sign(&self, at: usize, group: &Group) -> SignedGroup {
        SignedGroup::sign(group, &self.members[at].keys.signing)
    }

    /// Commits signed groups with what proves their objects.
    pub(crate) fn send(
        &mut self,
        at: usize,
        groups: Vec<SignedGroup>,
        pages: &[Vec<u8>],
        receipts: BTreeMap<ChunkId, Receipt>,
    ) -> Vec<GroupOutcome> {
        let device = self.device(at);
        let commit = PreparedCommit::prepare(device, self.folder, groups, pages, receipts);
        match self.apply(Action::Commit(commit)).answer.unwrap() {
            Answer::Groups(outcomes) => outcomes,
            Answer::Done | Answer::Released { .. } => panic!("a commit is answered by outcomes"),
        }
    }

    pub(crate) fn send_one(&mut self, at: usize, group: &Group) -> GroupOutcome {
        let signed = self.sign(at, group);
        self.send(at, vec![signed], &[], BTreeMap::new()).remove(0)
    }

    pub(crate) fn commit(&mut self, at: usize, changes: Vec<Change>) -> GroupOutcome {
        let group = self.group(at, changes);
        self.send_one(at, &group)
    }

    /// Commits a group that has to be accepted; gives its revision.
    pub(crate) fn accept(&mut self, at: usize, changes: Vec<Change>) -> Revision {
        let outcome = self.commit(at, changes);
        outcome.revision().unwrap_or_else(|| panic!("rejected: {outcome:?}"))
    }

    /// Commits a group that has to be rejected: it leaves no trace, and has this code, change and
    /// entry.
    pub(crate) fn reject(
        &mut self,
        at: usize,
        changes: Vec<Change>,
        code: RejectionCode,
        change: u32,
        entry: Option<EntryId>,
    ) {
        let before = self.digest();
        let GroupOutcome::Rejected(rejection) = self.commit(at, changes) else {
            panic!("accepted instead of {code:?}");
        };
        assert_eq!((rejection.code, rejection.change, rejection.entry), (code, change, entry));
        assert!(!rejection.message.is_empty());
        assert_eq!(self.digest(), before);
    }

    /// The digest of everything that can be seen now.
    pub(crate) fn digest(&self) -> (Revision, Head) {
        let revision = self.store.folder(&self.folder).unwrap().unwrap().revision;
        (revision, query::register_digest(&self.store, &self.folder, revision).unwrap())
    }

    pub(crate) fn state(&self, number: u8) -> EntryState {
        self.store.entry(&self.folder, &entry(number)).unwrap().unwrap()
    }

    /// Names of live entries with their parents and content tags, by entry.
    pub(crate) fn tree(&self) -> Vec<(u8, u8, String, u8)> {
        let (revision, _) = self.digest();
        let (page, next) =
            query::snapshot_page(&self.store, &self.folder, revision, None, usize::MAX).unwrap();
        assert_eq!(next, None);
        page.into_iter()
            .map(|registers| {
                (
                    registers.entry.as_bytes()[0],
                    registers.place.parent.as_bytes()[0],
                    String::from_utf8(registers.place.name).unwrap(),
                    registers.content.tag.as_bytes()[0],
                )
            })
            .collect()
    }
}
