//! The flows of the account against a real server on loopback.

use super::*;
use crate::context::{Environment, Job};
use crate::daemon::SystemEnvironment;
use crate::home::Pending;
use crate::remote::{QuicRemote, Remote, RemoteError, Server, join};
use common::trust::{InvitationState, JoinCode, JoinKind};
use common::wire::meta::{Empty, RefusalCode, Request};
use server::assemble;
use std::future::Future;
use std::pin::Pin;
use tokio::runtime::Handle;

const HOUR_MS: u64 = 3_600_000;

/// The real machine with its clock set forward.
struct Later(SystemEnvironment, i64);

impl Environment for Later {
    fn now_ns(&self) -> i64 {
        self.0.now_ns() + self.1
    }
    fn monotonic_ns(&self) -> i64 {
        self.0.monotonic_ns()
    }
    fn random(&self, bytes: &mut [u8]) {
        self.0.random(bytes);
    }
    fn spawn(&self, job: Job) {
        self.0.spawn(job);
    }
    fn sleep(&self, milliseconds: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(milliseconds)
    }
}

struct World {
    server: assemble::Server,
    environment: SystemEnvironment,
    _data: tempfile::TempDir,
}

/// A device with its connection.
struct Device {
    account: Account,
    remote: QuicRemote,
}

impl World {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = assemble::ServerConfig::new(data.path().join("data"), listen);
        let server = assemble::Server::start(config).await.unwrap();
        Self { server, environment: SystemEnvironment::new(Handle::current()), _data: data }
    }

    fn server(&self) -> Server {
        Server {
            addresses: vec![self.server.local_addr().to_string()],
            cluster: self.server.cluster(),
        }
    }

    async fn bootstrap_code(&self) -> JoinCode {
        self.server.mint_bootstrap(HOUR_MS).await.unwrap().code
    }

    async fn bootstrap(&self, name: &str) -> Device {
        let code = self.bootstrap_code().await;
        let pending = prepare_bootstrap(&code, name, &self.environment).unwrap();
        self.redeem(&pending).await.unwrap().0
    }

    async fn redeem(&self, pending: &Pending) -> Result<(Device, Invited), RemoteError> {
        let key = &pending.keys.device.signing;
        join::redeem(&pending.code, key, pending.record.clone()).await?;
        let (account, invited) = redeemed(pending).unwrap();
        let remote = QuicRemote::new(self.server(), &account.device_keys().signing);
        let mut device = Device { account, remote };
        refresh(&mut device.account, &device.remote, &self.environment).await.unwrap();
        Ok((device, invited))
    }

    async fn prepare(&self, code: &JoinCode, name: &str) -> Result<Pending, AccountError> {
        let mut seed = [0; 32];
        self.environment.random(&mut seed);
        let keys = DeviceKeys::from_seed(seed);
        let left = join::fetch(code, &keys.signing).await?;
        prepare_device(code, left, keys, name, &self.environment)
    }

    async fn invite(&self, device: &mut Device, folder: Option<FolderId>) -> JoinCode {
        self.invite_for(device, folder, HOUR_MS).await
    }

    async fn invite_for(
        &self,
        device: &mut Device,
        folder: Option<FolderId>,
        life_ms: u64,
    ) -> JoinCode {
        let server = self.server();
        let invite = Invite { server, folder, checkpoints: Default::default(), life_ms };
        let Device { account, remote } = device;
        open_invitation(account, remote, &self.environment, &invite).await.unwrap().code
    }

    async fn join(&self, inviter: &mut Device, name: &str) -> Device {
        let code = self.invite(inviter, None).await;
        let pending = self.prepare(&code, name).await.unwrap();
        self.redeem(&pending).await.unwrap().0
    }

    async fn create(&self, device: &mut Device, name: &str) -> Result<FolderId, AccountError> {
        let Device { account, remote } = device;
        create_folder(account, remote, &self.environment, name).await.map(|made| made.id)
    }

    async fn refresh(&self, device: &mut Device) {
        let Device { account, remote } = device;
        refresh(account, remote, &self.environment).await.unwrap();
    }
}

fn refusal(error: &AccountError) -> Option<RefusalCode> {
    match error {
        AccountError::Remote(error) => error.refusal_code(),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_gets_folders_keys_and_names() {
    let world = World::start().await;
    let mut first = world.bootstrap("first").await;
    let folder = world.create(&mut first, "notes").await.unwrap();
    let taken = world.create(&mut first, "notes").await;
    assert!(matches!(taken, Err(AccountError::FolderNameTaken(_))));

    let code = world.invite(&mut first, Some(folder)).await;
    let pending = world.prepare(&code, "first").await.unwrap();
    assert_eq!(pending.name, "first-2", "two devices never share a name");
    let (second, invited) = world.redeem(&pending).await.unwrap();
    assert_eq!(invited.folder, Some(folder));
    assert_eq!(second.account.keyring(), first.account.keyring());
    let name =
        verify_folder(&second.account, &second.remote, &world.environment, &folder).await.unwrap();
    assert_eq!(name, "notes");

    world.refresh(&mut first).await;
    let listed = devices(&first.account, &first.remote, &world.environment).await.unwrap();
    let names: Vec<_> =
        listed.iter().map(|device| (device.name.as_str(), device.is_self)).collect();
    assert_eq!(names, [("first", true), ("first-2", false)]);
    assert!(listed.iter().all(|device| device.online == Some(true) && !device.revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_once_and_for_its_own_kind() {
    let world = World::start().await;
    let mut first = world.bootstrap("first").await;
    let code = world.invite(&mut first, None).await;
    let pending = world.prepare(&code, "second").await.unwrap();
    let late = world.prepare(&code, "third").await.unwrap();
    world.redeem(&pending).await.unwrap();
    // The same record again, as after a lost answer, has the same one effect.
    world.redeem(&pending).await.unwrap();
    let again = world.redeem(&late).await.map(|_| ()).unwrap_err();
    assert_eq!(again.refusal_code(), Some(RefusalCode::InvitationInvalid), "{again}");
    let again = world.prepare(&code, "third").await.unwrap_err();
    assert_eq!(refusal(&again), Some(RefusalCode::InvitationInvalid), "{again}");

    let bootstrap = world.bootstrap_code().await;
    assert!(matches!(
        world.prepare(&bootstrap, "x").await,
        Err(AccountError::CodeKind(JoinKind::Bootstrap))
    ));
    assert!(matches!(
        prepare_bootstrap(&code, "x", &world.environment),
        Err(AccountError::CodeKind(JoinKind::Device))
    ));
    let mut unknown = code.clone();
    unknown.secret = [9; 32];
    let unknown = world.prepare(&unknown, "x").await.unwrap_err();
    assert_eq!(refusal(&unknown), Some(RefusalCode::InvitationInvalid), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_blob_or_a_foreign_log_is_refused() {
    let world = World::start().await;
    let mut first = world.bootstrap("first").await;
    let mut other = world.bootstrap("other").await;
    let code = world.invite(&mut first, None).await;
    let others = world.invite(&mut other, None).await;
    let keys = || DeviceKeys::from_seed([5; 32]);
    let left = join::fetch(&code, &keys().signing).await.unwrap();
    let theirs = join::fetch(&others, &keys().signing).await.unwrap();
    let prepare = |left| prepare_device(&code, left, keys(), "x", &world.environment);
    let mut altered = left.clone();
    altered.blob[40] ^= 1;
    assert!(matches!(prepare(altered), Err(AccountError::Trust(_))));
    let swapped = join::Left { blob: left.blob.clone(), device_log: theirs.device_log };
    assert!(matches!(prepare(swapped), Err(AccountError::ForeignLog(_))));
    let mut short = left.clone();
    short.device_log.pop();
    assert!(matches!(prepare(short), Err(AccountError::ForeignLog(_))));
    prepare(left).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_invitation_is_voided_by_a_device_that_sees_it() {
    let world = World::start().await;
    let mut first = world.bootstrap("first").await;
    let code = world.invite_for(&mut first, None, HOUR_MS).await;
    let environment = world.environment.clone();
    let later = Later(environment, 2 * i64::try_from(HOUR_MS).unwrap() * 1_000_000);
    let left = join::fetch(&code, &DeviceKeys::from_seed([5; 32]).signing).await.unwrap();
    let expired = prepare_device(&code, left, DeviceKeys::from_seed([5; 32]), "x", &later);
    assert!(matches!(
        expired,
        Err(AccountError::Trust(common::trust::TrustError::InvitationExpired(_)))
    ));
    let Device { account, remote } = &mut first;
    assert_eq!(void_expired(account, remote, &world.environment).await.unwrap(), 0);
    assert_eq!(void_expired(account, remote, &later).await.unwrap(), 1);
    assert_eq!(void_expired(account, remote, &later).await.unwrap(), 0);
    let state = account.log().invitation(&code.lookup()).unwrap().state;
    assert_eq!(state, InvitationState::Voided);
    let gone = world.prepare(&code, "x").await.unwrap_err();
    assert_eq!(refusal(&gone), Some(RefusalCode::InvitationInvalid), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_change_things_at_the_same_time_lose_nothing() {
    let world = World::start().await;
    let mut first = world.bootstrap("first").await;
    let mut second = world.join(&mut first, "second").await;
    // Both know the same keyring and log; whoever comes second has to merge.
    let (one, two) =
        tokio::join!(world.create(&mut first, "one"), world.create(&mut second, "two"));
    let (one, two) = (one.unwrap(), two.unwrap());
    let (code, other) =
        tokio::join!(world.invite(&mut first, None), world.invite(&mut second, None));
    assert_ne!(code, other);
    for device in [&mut first, &mut second] {
        world.refresh(device).await;
        let folders: Vec<_> = device.account.keyring().folders.keys().copied().collect();
        assert!(folders.contains(&one) && folders.contains(&two));
    }
    assert_eq!(first.account.log(), second.account.log());
    for code in [code, other] {
        let pending = world.prepare(&code, "more").await.unwrap();
        let (more, _) = world.redeem(&pending).await.unwrap();
        assert_eq!(more.account.keyring().folders.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_let_in_no_more_and_does_not_get_the_new_secret() {
    let world = World::start().await;
    let mut first = world.bootstrap("first").await;
    let mut second = world.join(&mut first, "second").await;
    world.create(&mut first, "notes").await.unwrap();
    let open = world.invite(&mut first, None).await;
    let Device { account, remote } = &mut first;
    let environment = &world.environment;
    let itself = revoke_device(account, remote, environment, "first").await;
    assert!(matches!(itself, Err(AccountError::RevokeSelf)));
    let nobody = revoke_device(account, remote, environment, "nobody").await;
    assert!(matches!(nobody, Err(AccountError::NoSuchDevice(_))));
    let revoked = revoke_device(account, remote, environment, "second").await.unwrap();
    let device = second.account.device();
    assert_eq!(revoked, Revoked { device, already: false });
    let again = revoke_device(account, remote, environment, "second").await.unwrap();
    assert_eq!(again, Revoked { device, already: true });
    let by_id = revoke_device(account, remote, environment, &device.to_string()).await.unwrap();
    assert_eq!(by_id, again);
    assert_eq!(account.secrets().newest().0, 2);

    let asked = second.remote.request(Request::KeyringGet(Empty {})).await;
    let refused = refresh(&mut second.account, &second.remote, environment).await;
    assert!(asked.is_err() && refused.is_err());
    let voided = world.prepare(&open, "third").await.unwrap_err();
    assert_eq!(refusal(&voided), Some(RefusalCode::InvitationInvalid), "{voided}");

    // The keyring is sealed under the new secret, which a new device gets and the old names with it.
    let third = world.join(&mut first, "third").await;
    assert_eq!(third.account.keyring().folders.len(), 1);
    let listed = devices(&third.account, &third.remote, environment).await.unwrap();
    let names: Vec<_> = listed.iter().map(|d| (d.name.as_str(), d.revoked)).collect();
    assert_eq!(names, [("first", false), ("third", false), ("second", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_kept_in_a_home() {
    let world = World::start().await;
    let mut first = world.bootstrap("first").await;
    world.create(&mut first, "notes").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let home = Home::locate(Some(directory.path().join("home"))).unwrap();
    home.create().unwrap();
    first.account.save(&home).unwrap();
    let loaded = Account::load(&home).unwrap();
    assert_eq!(loaded.log(), first.account.log());
    assert_eq!(loaded.keyring(), first.account.keyring());
    assert_eq!(loaded.device(), first.account.device());
    let other = StoredKeys { device: DeviceKeys::from_seed([8; 32]), ..first.account.keys.clone() };
    home.put_keys(&other).unwrap();
    let foreign = Account::load(&home).unwrap_err();
    assert!(matches!(foreign, AccountError::Home(HomeError::Malformed { .. })), "{foreign}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_older_than_seen_is_an_alarm() {
    let world = World::start().await;
    let mut first = world.bootstrap("first").await;
    world.create(&mut first, "notes").await.unwrap();
    first.account.keyring.version += 5;
    let refused = refresh(&mut first.account, &first.remote, &world.environment).await;
    assert!(matches!(refused, Err(AccountError::KeyringRolledBack { seen: 6, .. })), "{refused:?}");
}
