//! A server that hands a device an altered keyring: refused with a typed error, nothing that was
//! known is lost or written over, and the device goes on once it gets the right one.
//!
//! The account's own flows against a real server, with a liar in between; and the built programs
//! over a server whose disk has flipped a bit, for what a person sees of it.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use client::context::Environment;
use client::daemon::SystemEnvironment;
use client::daemon::account::{
    self, Account, AccountError, Invite, create_folder, open_invitation, prepare_bootstrap,
    prepare_device, redeemed, revoke_device,
};
use client::home::{Home, Pending};
use client::remote::{JournalStream, QuicRemote, Remote, RemoteError, Server, join};
use common::ids::{ChunkId, FolderId};
use common::keys::{DeviceKeys, KeyringError};
use common::limits::KEYRING_BYTES_MAX;
use common::wire::meta::{self, Empty, Reply, Request};
use server::assemble;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use tests::harness::{self, Programs, Tree, eventually};
use tokio::runtime::Handle;

const HOUR_MS: u64 = 3_600_000;
/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;

/// A server that may hand out another keyring than the one it has.
struct Liar {
    remote: QuicRemote,
    keyring: Mutex<Option<meta::Keyring>>,
}

impl Liar {
    fn lie(&self, keyring: Option<meta::Keyring>) {
        *self.keyring.lock().unwrap() = keyring;
    }
}

#[async_trait]
impl Remote for Liar {
    async fn request(&self, request: Request) -> Result<Vec<Reply>, RemoteError> {
        let lie = self.keyring.lock().unwrap().clone();
        match (&request, lie) {
            (Request::KeyringGet(_), Some(keyring)) => Ok(vec![Reply::Keyring(keyring)]),
            _ => self.remote.request(request).await,
        }
    }

    async fn commit(
        &self,
        folder: FolderId,
        parts: Vec<meta::CommitPart>,
    ) -> Result<meta::Outcomes, RemoteError> {
        self.remote.commit(folder, parts).await
    }

    async fn subscribe(
        &self,
        request: meta::Subscribe,
    ) -> Result<Box<dyn JournalStream>, RemoteError> {
        self.remote.subscribe(request).await
    }

    async fn put(
        &self,
        folder: FolderId,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> Result<Vec<Vec<u8>>, RemoteError> {
        self.remote.put(folder, chunks).await
    }

    async fn get(
        &self,
        folder: FolderId,
        ids: Vec<ChunkId>,
    ) -> Result<Vec<Option<Bytes>>, RemoteError> {
        self.remote.get(folder, ids).await
    }

    async fn have(&self, folder: FolderId, ids: Vec<ChunkId>) -> Result<Vec<Vec<u8>>, RemoteError> {
        self.remote.have(folder, ids).await
    }
}

struct Device {
    account: Account,
    liar: Liar,
}

/// Two devices of a user, and a folder that the second does not know of yet.
struct World {
    server: assemble::Server,
    environment: SystemEnvironment,
    first: Device,
    second: Device,
    folder: FolderId,
    /// The keyring before that folder.
    older: meta::Keyring,
    /// The keyring with it.
    right: meta::Keyring,
    home: Home,
    _files: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = assemble::ServerConfig::new(files.path().join("data"), listen);
        let server = assemble::Server::start(config).await.unwrap();
        let environment = SystemEnvironment::new(Handle::current());
        let mut first = bootstrap(&server, &environment, "first").await;
        create_folder(&mut first.account, &first.liar, &environment, "one").await.unwrap();
        let second = join_as(&server, &environment, &mut first, "second").await;
        let older = keyring_of(&first).await;
        let home = Home::locate(Some(files.path().join("home"))).unwrap();
        home.create().unwrap();
        second.account.save(&home).unwrap();
        let Device { account, liar } = &mut first;
        let folder = create_folder(account, liar, &environment, "two").await.unwrap().id;
        let right = keyring_of(&first).await;
        Self { server, environment, first, second, folder, older, right, home, _files: files }
    }

    /// The second device gets this for the keyring: it refuses, and believes and keeps what it did.
    /// Then it gets the right one and goes on.
    async fn refuses(&mut self, keyring: meta::Keyring) -> AccountError {
        let Self { environment, second, home, folder, .. } = self;
        let Device { account, liar } = second;
        let (known, kept) = (account.keyring().clone(), kept(home));
        liar.lie(Some(keyring));
        let refused = account::refresh(account, liar, environment).await.unwrap_err();
        assert!(!refused.is_retryable(), "{refused}");
        assert_eq!(account.keyring(), &known, "{refused}");
        // The daemon keeps what it read before the error, such as a longer log.
        account.save(home).unwrap();
        assert_eq!(kept, self::kept(home), "{refused}");
        // Nor does it write over what it could not read.
        let made = create_folder(account, liar, environment, "three").await;
        assert!(made.is_err(), "{refused}");
        liar.lie(None);
        assert_eq!(keyring_of(second).await, self.right, "{refused}");

        let Device { account, liar } = second;
        assert!(account::refresh(account, liar, environment).await.unwrap());
        assert_eq!(account.keyring(), self.first.account.keyring());
        assert!(account.folder_keys(folder).is_ok());
        account.save(home).unwrap();
        assert_eq!(Account::load(home).unwrap().keyring(), account.keyring());
        refused
    }
}

/// What a home keeps of the keyring.
fn kept(home: &Home) -> Vec<u8> {
    fs::read(home.path().join("keyring")).unwrap()
}

async fn keyring_of(device: &Device) -> meta::Keyring {
    let replies = device.liar.request(Request::KeyringGet(Empty {})).await.unwrap();
    match replies.into_iter().next() {
        Some(Reply::Keyring(keyring)) => keyring,
        other => panic!("no keyring: {other:?}"),
    }
}

async fn bootstrap(
    server: &assemble::Server,
    environment: &SystemEnvironment,
    name: &str,
) -> Device {
    let code = server.mint_bootstrap(HOUR_MS).await.unwrap().code;
    enrol(server, environment, &prepare_bootstrap(&code, name, environment).unwrap()).await
}

async fn join_as(
    server: &assemble::Server,
    environment: &SystemEnvironment,
    inviter: &mut Device,
    name: &str,
) -> Device {
    let Device { account, liar } = inviter;
    let invite = Invite {
        server: address(server),
        folder: None,
        checkpoints: Default::default(),
        life_ms: HOUR_MS,
    };
    let code = open_invitation(account, liar, environment, &invite).await.unwrap().code;
    let mut seed = [0; 32];
    environment.random(&mut seed);
    let keys = DeviceKeys::from_seed(seed);
    let left = join::fetch(&code, &keys.signing).await.unwrap();
    let pending = prepare_device(&code, left, keys, name, environment).unwrap();
    enrol(server, environment, &pending).await
}

async fn enrol(
    server: &assemble::Server,
    environment: &SystemEnvironment,
    pending: &Pending,
) -> Device {
    join::redeem(&pending.code, &pending.keys.device.signing, pending.record.clone())
        .await
        .unwrap();
    let (mut account, _) = redeemed(pending).unwrap();
    let remote = QuicRemote::new(address(server), &account.device_keys().signing);
    let liar = Liar { remote, keyring: Mutex::default() };
    account::refresh(&mut account, &liar, environment).await.unwrap();
    Device { account, liar }
}

fn address(server: &assemble::Server) -> Server {
    Server { addresses: vec![server.local_addr().to_string()], cluster: server.cluster() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_with_a_flipped_bit_is_refused() {
    let mut world = World::start().await;
    let right = world.right.clone();
    let middle = right.sealed.len() / 2;
    for at in [0, 40, middle, right.sealed.len() - 1] {
        let mut altered = right.clone();
        altered.sealed[at] ^= 4;
        let Device { account, liar } = &mut world.second;
        let known = account.keyring().clone();
        liar.lie(Some(altered));
        let refused = account::refresh(account, liar, &world.environment).await.unwrap_err();
        assert!(matches!(refused, AccountError::Keyring(_)), "byte {at}: {refused:?}");
        assert_eq!(account.keyring(), &known, "byte {at}");
    }
    let mut altered = right.clone();
    altered.sealed[middle] ^= 1;
    world.refuses(altered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_of_another_user_is_refused() {
    let mut world = World::start().await;
    let mut other = bootstrap(&world.server, &world.environment, "other").await;
    for name in ["a", "b"] {
        let Device { account, liar } = &mut other;
        create_folder(account, liar, &world.environment, name).await.unwrap();
    }
    let foreign = keyring_of(&other).await;
    assert_eq!(foreign.version, world.right.version, "nothing but its owner tells it apart");
    let refused = world.refuses(foreign).await;
    assert!(matches!(refused, AccountError::Keyring(KeyringError::WrongUser)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_keyring_under_a_new_version_is_refused() {
    let mut world = World::start().await;
    let (inside, outside) = (world.older.version, world.right.version);
    // The device knows the older one to the byte: what it lacks is only the number.
    let again = meta::Keyring { version: outside + 7, ..world.right.clone() };
    let refused = world.refuses(again).await;
    let is_told = matches!(
        refused,
        AccountError::Keyring(KeyringError::VersionMismatch { inside, .. }) if inside == outside
    );
    assert!(is_told, "{refused:?}");

    let Device { account, liar } = &mut world.second;
    let older = meta::Keyring { version: outside, ..world.older.clone() };
    liar.lie(Some(older));
    let refused = account::refresh(account, liar, &world.environment).await.unwrap_err();
    let is_told = matches!(
        refused,
        AccountError::Keyring(KeyringError::VersionMismatch { inside: told, .. }) if told == inside
    );
    assert!(is_told, "{refused:?}");

    liar.lie(Some(world.older.clone()));
    let refused = account::refresh(account, liar, &world.environment).await.unwrap_err();
    assert!(matches!(refused, AccountError::KeyringRolledBack { .. }), "{refused:?}");
    assert_eq!(account.keyring(), world.first.account.keyring(), "nothing is forgotten for it");
}

/// What was sealed for all devices before one was revoked is not the newest keyring any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_of_an_older_secret_is_refused_after_a_newer_one() {
    let mut world = World::start().await;
    let third = join_as(&world.server, &world.environment, &mut world.first, "third").await;
    let before = keyring_of(&third).await;
    let Device { account, liar } = &mut world.first;
    revoke_device(account, liar, &world.environment, "third").await.unwrap();
    world.right = keyring_of(&world.first).await;
    assert!(world.right.version > before.version);
    let relabelled = meta::Keyring { version: world.right.version, ..before.clone() };
    let refused = world.refuses(relabelled).await;
    assert!(
        matches!(refused, AccountError::Keyring(KeyringError::VersionMismatch { .. })),
        "{refused:?}"
    );
    let Device { account, liar } = &mut world.second;
    liar.lie(Some(before));
    let refused = account::refresh(account, liar, &world.environment).await.unwrap_err();
    assert!(matches!(refused, AccountError::KeyringRolledBack { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_keyring_is_refused() {
    let mut world = World::start().await;
    let right = world.right.clone();
    for length in [0, 1, 64, right.sealed.len() / 2] {
        let cut = meta::Keyring { sealed: right.sealed[..length].to_vec(), ..right.clone() };
        let Device { account, liar } = &mut world.second;
        let known = account.keyring().clone();
        liar.lie(Some(cut));
        let refused = account::refresh(account, liar, &world.environment).await.unwrap_err();
        assert!(matches!(refused, AccountError::Keyring(_)), "{length} bytes: {refused:?}");
        assert_eq!(account.keyring(), &known, "{length} bytes");
    }
    let length = right.sealed.len() - 1;
    let cut = meta::Keyring { sealed: right.sealed[..length].to_vec(), ..right };
    world.refuses(cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_keyring_is_refused() {
    let mut world = World::start().await;
    let mut large = world.right.clone();
    large.sealed.resize(KEYRING_BYTES_MAX + 1, 0);
    let refused = world.refuses(large).await;
    assert!(refused.to_string().contains(&KEYRING_BYTES_MAX.to_string()), "{refused}");
}

/// Flips a bit in a stored keyring, or flips it back. No other file of the server is touched.
fn flip_on_disk(data: &Path, keyring: &[u8]) -> Result<Vec<u8>> {
    let path = data.join("server").join("meta.sqlite");
    let mut bytes = fs::read(&path)?;
    let found: Vec<usize> = (0..bytes.len().saturating_sub(keyring.len()))
        .filter(|at| bytes[*at..].starts_with(keyring))
        .collect();
    ensure!(!found.is_empty(), "the server's database does not hold the keyring in one piece");
    for at in found {
        bytes[at + keyring.len() / 2] ^= 1;
    }
    fs::write(path, bytes)?;
    let mut flipped = keyring.to_vec();
    flipped[keyring.len() / 2] ^= 1;
    Ok(flipped)
}

/// The last keyring that a device keeps, as the server stores it.
fn stored_keyring(home: &Path) -> Result<Vec<u8>> {
    let stored = Home::locate(Some(home.to_owned()))?.keyring()?;
    Ok(stored.context("no keyring")?.sealed)
}

#[test]
fn a_device_says_what_is_wrong_with_a_keyring_and_goes_on_syncing() {
    let checked = || -> Result<()> {
        let directory = tempfile::tempdir()?;
        let programs = Programs::locate()?;
        let mut server = harness::Server::start(&programs, directory.path())?;
        let join =
            |name: &str, code: &str| harness::Device::join(&programs, directory.path(), name, code);
        let first = join("first", &server.invite()?)?;
        fs::write(first.root().join("file"), "written before")?;
        first.sync(SYNC_SECONDS)?;
        let mut second = join("second", &first.invite()?)?;
        second.sync(SYNC_SECONDS)?;
        let before = Tree::read(second.root())?;
        let kept = fs::read(second.home().join("keyring"))?;

        server.stop()?;
        let flipped = flip_on_disk(directory.path(), &stored_keyring(second.home())?)?;
        server.run()?;
        let log = directory.path().join("second.log");
        eventually("the log tells of the keyring", || {
            let told = fs::read_to_string(&log)?.contains("the account cannot be refreshed");
            Ok(told.then_some(()))
        })?;
        let more = directory.path().join("more");
        fs::create_dir(&more)?;
        let added = second.ask(&["folder", "add", more.to_str().context("no UTF-8")?])?;
        let error = &added.json()?["error"];
        ensure!(added.code == Some(1) && error["kind"] == "untrusted", "{:?} {error}", added.code);
        ensure!(Tree::read(second.root())? == before, "a file has changed");
        ensure!(fs::read(second.home().join("keyring"))? == kept, "the keyring was written over");
        // What a device knows is enough for its folders, after a new start too.
        second.stop()?;
        second.run()?;
        fs::write(second.root().join("meanwhile"), "written under a false keyring")?;
        second.sync(SYNC_SECONDS)?;
        first.sync(SYNC_SECONDS)?;
        ensure!(Tree::read(first.root())? == Tree::read(second.root())?, "they differ");

        server.stop()?;
        flip_on_disk(directory.path(), &flipped)?;
        server.run()?;
        second.sync(SYNC_SECONDS)?;
        let added = second.ask(&["folder", "add", more.to_str().context("no UTF-8")?])?;
        added.success("folder add")?;
        Ok(())
    };
    checked().unwrap_or_else(|error| panic!("{error:?}"));
}
