//! The daemon from enrolment to commands, with a real server, disk and engine.

use super::control::{
    Answer, AskFailure, FolderArgument, Keep, Listing, PathArgument, Request, State, Which, ask,
};
use super::embedded::Embedded;
use super::enrolment::{Enrolled, Enrolment, enrol};
use super::*;
use crate::home::{FolderConfig, Pending};
use crate::remote::join as joining;
use common::trust::JoinCode;
use std::fs;
use std::path::PathBuf;
use tokio::runtime::Handle;

const HOUR_MS: u64 = 3_600_000;

/// Homes and folders below one temporary directory.
struct World {
    base: PathBuf,
    environment: Arc<SystemEnvironment>,
    _directory: tempfile::TempDir,
}

/// A device whose daemon runs.
struct Device {
    home: Home,
    root: PathBuf,
    daemon: Daemon,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let environment = Arc::new(SystemEnvironment::new(Handle::current()));
        Self { base, environment, _directory: directory }
    }

    fn home(&self, name: &str) -> Home {
        let home = Home::locate(Some(self.base.join(format!("home-{name}")))).unwrap();
        home.create().unwrap();
        home
    }

    fn enrolment(&self, code: JoinCode, local: Server, name: &str) -> Enrolment {
        Enrolment {
            code,
            directory: self.base.join(name),
            device: name.to_owned(),
            folder: None,
            local,
            embedded: None,
        }
    }

    async fn enrol(&self, home: &Home, enrolment: &Enrolment) -> Result<Enrolled, Failure> {
        enrol(home, enrolment, self.environment.as_ref()).await
    }

    /// A first device with its embedded server.
    async fn up(&self, name: &str) -> Device {
        let home = self.home(name);
        let lock = home.lock().unwrap();
        let embedded = Embedded::start(&home, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let code = embedded.bootstrap_code().await.unwrap();
        let mut enrolment = self.enrolment(code, embedded.local(), name);
        enrolment.embedded = Some(embedded.listening());
        let enrolled = self.enrol(&home, &enrolment).await.unwrap();
        self.start(home, lock, Some(embedded), enrolled.path).await
    }

    async fn start(
        &self,
        home: Home,
        lock: HomeLock,
        embedded: Option<Embedded>,
        root: PathBuf,
    ) -> Device {
        let environment = Arc::clone(&self.environment) as Arc<dyn Environment>;
        let daemon = Daemon::start(home.clone(), lock, embedded, environment).await.unwrap();
        Device { home, root, daemon }
    }

    /// A first device that was stopped, started again with its embedded server.
    async fn again(&self, home: Home, root: PathBuf) -> Device {
        let lock = home.lock().unwrap();
        let listen = home.config().unwrap().server.listen.unwrap().parse().unwrap();
        let embedded = Embedded::start(&home, listen).await.unwrap();
        self.start(home, lock, Some(embedded), root).await
    }

    async fn code(&self, device: &Device) -> JoinCode {
        device.daemon.invite(None, HOUR_MS).await.unwrap().code.parse().unwrap()
    }

    async fn join(&self, inviter: &Device, name: &str) -> Device {
        let code = self.code(inviter).await;
        let home = self.home(name);
        let lock = home.lock().unwrap();
        let local = Server { addresses: code.addresses.clone(), cluster: code.cluster };
        let enrolled = self.enrol(&home, &self.enrolment(code, local, name)).await.unwrap();
        self.start(home, lock, None, enrolled.path).await
    }
}

impl Device {
    async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let home = self.home.clone();
        let asked = blocking(move || ask(&home, &request, |_| ())).await;
        asked.map_err(|error| match error {
            AskFailure::Refused(failure) => failure,
            other => panic!("{other}"),
        })
    }

    async fn sync(&self) {
        match self.ask(Request::Sync { timeout_ms: Some(60_000) }).await.unwrap() {
            Answer::Sync(sync) => assert!(sync.in_sync, "{sync:?}"),
            other => panic!("{other:?}"),
        }
    }

    fn path(&self, text: &str) -> PathArgument {
        PathArgument { text: text.to_owned(), directory: self.root.clone() }
    }

    async fn kind(&self, request: Request) -> String {
        self.ask(request).await.unwrap_err().kind
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_one_folder_happens_in_the_other() {
    let world = World::new();
    let one = world.up("one").await;
    fs::write(one.root.join("a.txt"), "one").unwrap();
    let two = world.join(&one, "two").await;
    one.sync().await;
    two.sync().await;
    assert_eq!(fs::read_to_string(two.root.join("a.txt")).unwrap(), "one");
    fs::write(two.root.join("a.txt"), "two").unwrap();
    two.sync().await;
    one.sync().await;
    assert_eq!(fs::read_to_string(one.root.join("a.txt")).unwrap(), "two");

    let Answer::Log(log) = one
        .ask(Request::Log {
            path: Some(one.path("a.txt")),
            folder: FolderArgument::default(),
            before: 0,
            limit: 10,
        })
        .await
        .unwrap()
    else {
        panic!("no log");
    };
    let versions: Vec<_> =
        log.versions.iter().map(|v| (v.device.as_str(), v.change.as_str(), v.size)).collect();
    assert_eq!(versions, [("two", "edited", 3), ("one", "created", 3)]);
    let revision = log.versions[1].revision;
    let to = world.base.join("restored");
    let export = Request::Export {
        path: one.path("one:a.txt"),
        which: Which::Revision(revision),
        to: to.clone(),
        bytes_only: false,
    };
    one.ask(export).await.unwrap();
    assert_eq!(fs::read_to_string(to).unwrap(), "one");
    one.ask(Request::Restore {
        path: one.path("a.txt"),
        which: Which::Revision(revision),
        dry_run: false,
    })
    .await
    .unwrap();
    one.sync().await;
    two.sync().await;
    assert_eq!(fs::read_to_string(two.root.join("a.txt")).unwrap(), "one");
    two.daemon.stop().await;
    one.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_seen_and_settled_on_both_devices() {
    let world = World::new();
    let one = world.up("one").await;
    let two = world.join(&one, "two").await;
    fs::write(one.root.join("a"), "base").unwrap();
    one.sync().await;
    two.sync().await;
    one.ask(Request::Pause { folder: None }).await.unwrap();
    fs::write(one.root.join("a"), "edit of one").unwrap();
    fs::write(two.root.join("a"), "two").unwrap();
    two.sync().await;
    one.ask(Request::Resume { folder: None }).await.unwrap();
    one.sync().await;
    two.sync().await;
    for device in [&one, &two] {
        let Answer::Conflicts(found) =
            device.ask(Request::Conflicts { path: None, diff: false }).await.unwrap()
        else {
            panic!("no conflicts");
        };
        let [conflict] = found.conflicts.as_slice() else { panic!("{found:?}") };
        assert_eq!(conflict.path, "a");
        let devices: Vec<_> = conflict.sides.iter().map(|side| side.device.as_str()).collect();
        assert_eq!(devices, ["two", "one"]);
    }
    let resolve = Request::Resolve { path: one.path("a"), keep: Keep::Mine };
    one.ask(resolve.clone()).await.unwrap();
    one.sync().await;
    two.sync().await;
    assert_eq!(fs::read_to_string(two.root.join("a")).unwrap(), "edit of one");
    assert_eq!(one.kind(resolve).await, "no_conflict");
    two.daemon.stop().await;
    one.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_added_linked_and_removed() {
    let world = World::new();
    let one = world.up("one").await;
    let two = world.join(&one, "two").await;
    let directory = world.base.join("more");
    let add = |directory: PathBuf| Request::FolderAdd { directory, name: Some("more".into()) };
    one.ask(add(directory.clone())).await.unwrap();
    for (at, kind) in [
        (directory.clone(), "nested_folder"),
        (directory.join("inside"), "nested_folder"),
        (world.base.clone(), "nested_folder"),
        (two.root.clone(), "foreign_marker"),
        (two.root.join("inside"), "nested_folder"),
        (world.base.join("beside"), "name_taken"),
    ] {
        assert_eq!(one.kind(add(at.clone())).await, kind, "{}", at.display());
    }
    // What cannot be a folder here is not made at the server either.
    assert!(one.ask(Request::FolderAdd { directory: "/proc".into(), name: None }).await.is_err());
    for name in ["", "a\nb", &"x".repeat(300)] {
        let directory = world.base.join("never");
        let add = Request::FolderAdd { directory: directory.clone(), name: Some(name.into()) };
        assert_eq!(one.kind(add).await, "bad_name", "{name:?}");
        assert!(!directory.exists());
    }
    let Answer::Folders(there) = one.ask(Request::FolderList).await.unwrap() else { panic!() };
    assert_eq!(there.list.len(), 2, "{there:?}");
    fs::write(directory.join("f"), "x").unwrap();
    one.sync().await;
    let linked = world.base.join("linked");
    let link = |directory: PathBuf| Request::FolderLink { name: "more".into(), directory };
    two.ask(link(linked.clone())).await.unwrap();
    two.sync().await;
    assert_eq!(fs::read_to_string(linked.join("f")).unwrap(), "x");
    assert_eq!(two.kind(link(world.base.join("again"))).await, "already_linked");
    two.ask(Request::FolderRemove { name: "more".into() }).await.unwrap();
    assert!(linked.join("f").exists() && !linked.join(".driftless/root").exists());
    assert_eq!(two.kind(Request::FolderRemove { name: "more".into() }).await, "no_such_folder");
    two.ask(link(linked.clone())).await.unwrap();
    two.sync().await;
    one.sync().await;
    assert_eq!(fs::read_to_string(directory.join("f")).unwrap(), "x");
    two.daemon.stop().await;
    one.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_daemon_goes_on_where_it_was() {
    let world = World::new();
    let one = world.up("one").await;
    let two = world.join(&one, "two").await;
    let Device { home, root, daemon } = two;
    daemon.stop().await;
    fs::write(one.root.join("late"), "x").unwrap();
    one.sync().await;
    let lock = home.lock().unwrap();
    let two = world.start(home, lock, None, root).await;
    two.sync().await;
    assert!(two.root.join("late").exists());
    let revoke = Request::DeviceRevoke { name: "two".into() };
    one.ask(revoke).await.unwrap();
    fs::write(one.root.join("secret"), "x").unwrap();
    one.sync().await;
    assert_eq!(two.kind(Request::Sync { timeout_ms: None }).await, "revoked");
    assert!(!two.root.join("secret").exists());
    two.daemon.stop().await;
    one.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_that_was_cut_off_goes_on_when_it_is_repeated() {
    let world = World::new();
    let one = world.up("one").await;
    let code = world.code(&one).await;
    let home = world.home("two");
    let local = Server { addresses: code.addresses.clone(), cluster: code.cluster };
    let enrolment = world.enrolment(code.clone(), local, "two");
    // As far as a device came that was stopped right after the server had redeemed its record.
    let keys = common::keys::DeviceKeys::from_seed([5; 32]);
    let left = joining::fetch(&code, &keys.signing).await.unwrap();
    let environment = world.environment.as_ref();
    let pending: Pending =
        account::prepare_device(&code, left, keys.clone(), "two", environment).unwrap();
    home.put_pending(&pending).unwrap();
    joining::redeem(&code, &keys.signing, pending.record.clone()).await.unwrap();
    let enrolled = world.enrol(&home, &enrolment).await.unwrap();
    assert_eq!(Account::load(&home).unwrap().device(), keys.device());
    assert!(home.pending().unwrap().is_none());
    // And as far as one that was stopped right before it wrote its configuration.
    fs::remove_file(home.config_path()).unwrap();
    home.put_pending(&pending).unwrap();
    assert_eq!(world.enrol(&home, &enrolment).await.unwrap(), enrolled);
    // Another home gets nothing of the used code.
    let other = world.enrol(&world.home("three"), &enrolment_in(&enrolment, &world, "three")).await;
    assert_eq!(other.unwrap_err().kind, "invitation_invalid");
    one.daemon.stop().await;
}

fn enrolment_in(enrolment: &Enrolment, world: &World, name: &str) -> Enrolment {
    Enrolment { directory: world.base.join(name), ..enrolment.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_not_there_halts_its_folder_until_it_is_back() {
    let world = World::new();
    let one = world.up("one").await;
    fs::write(one.root.join("f"), "x").unwrap();
    one.sync().await;
    let Device { home, root, daemon } = one;
    daemon.stop().await;
    let away = world.base.join("away");
    fs::rename(&root, &away).unwrap();
    let one = world.again(home, root).await;
    let asked = one.ask(Request::Sync { timeout_ms: Some(5_000) }).await.unwrap();
    let Answer::Sync(sync) = asked else { panic!("{asked:?}") };
    assert!(!sync.in_sync && sync.folders[0].state == State::Halted, "{sync:?}");
    fs::rename(&away, &one.root).unwrap();
    one.daemon.shared.start_folders().await;
    one.sync().await;
    assert_eq!(fs::read_to_string(one.root.join("f")).unwrap(), "x");
    one.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_all_folders_reaches_those_beside_one_that_is_not_there() {
    let world = World::new();
    let one = world.up("one").await;
    let more = world.base.join("more");
    one.ask(Request::FolderAdd { directory: more, name: None }).await.unwrap();
    one.sync().await;
    let Device { home, root, daemon } = one;
    daemon.stop().await;
    fs::rename(&root, world.base.join("away")).unwrap();
    let one = world.again(home, root).await;
    let both = vec!["one".to_owned(), "more".to_owned()];
    for (request, state) in [
        (Request::Pause { folder: None }, State::Paused),
        (Request::Resume { folder: None }, State::Idle),
    ] {
        let Answer::Done(done) = one.ask(request).await.unwrap() else { panic!("not done") };
        assert_eq!(done.on, both);
        let asked = one.ask(Request::Sync { timeout_ms: Some(60_000) }).await.unwrap();
        let Answer::Sync(sync) = asked else { panic!("{asked:?}") };
        let states: Vec<_> = sync.folders.iter().map(|folder| folder.state).collect();
        assert_eq!(states, [State::Halted, state]);
    }
    let asked = one.ask(Request::Conflicts { path: None, diff: false }).await.unwrap();
    let Answer::Conflicts(answer) = asked else { panic!("{asked:?}") };
    let [unknown] = answer.unknown.as_slice() else { panic!("{answer:?}") };
    assert!(unknown.folder == "one" && unknown.reason.contains("root"), "{unknown:?}");
    let confirmed = one.ask(Request::Confirm { folder: None, undo: false }).await.unwrap_err();
    assert_eq!(confirmed.kind, "nothing_to_confirm");
    assert!(confirmed.message.contains("root cannot be opened"), "{confirmed:?}");
    one.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_says_that_the_server_could_not_be_looked_at() {
    let world = World::new();
    let one = world.up("one").await;
    one.sync().await;
    let two = world.join(&one, "two").await;
    two.sync().await;
    let confirm = || two.ask(Request::Confirm { folder: None, undo: false });
    assert_eq!(confirm().await.unwrap_err().kind, "nothing_to_confirm");
    one.daemon.stop().await;
    let failure = confirm().await.unwrap_err();
    assert_eq!(failure.kind, "offline");
    let expected = "nothing is known to wait for a confirmation, but the server cannot be reached";
    assert!(failure.message.starts_with(expected), "{failure:?}");
    two.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_does_not_start_is_not_in_sync_and_says_why() {
    let world = World::new();
    let one = world.up("one").await;
    one.sync().await;
    let Device { home, root, daemon } = one;
    daemon.stop().await;
    let mut config = home.config().unwrap();
    // Its keys are nowhere.
    config.folders.push(FolderConfig {
        id: common::ids::FolderId::from_bytes([9; 32]),
        name: "keyless".into(),
        path: world.base.join("keyless"),
        paused: false,
    });
    home.put_config(&config).unwrap();
    let one = world.again(home, root).await;
    let asked = one.ask(Request::Sync { timeout_ms: Some(60_000) }).await.unwrap();
    let Answer::Sync(sync) = asked else { panic!("{asked:?}") };
    assert!(!sync.in_sync, "{sync:?}");
    let [_, keyless] = sync.folders.as_slice() else { panic!("{sync:?}") };
    assert_eq!((keyless.name.as_str(), keyless.state), ("keyless", State::Halted));
    let halt = keyless.halt.as_ref().unwrap();
    assert!(halt.message.contains("not in the keyring"), "{halt:?}");
    let list = Request::List {
        path: Some(one.path("keyless:")),
        folder: FolderArgument::default(),
        what: Listing::Now,
    };
    assert_eq!(one.kind(list).await, "engine");
    one.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_enrolment_at_another_server_has_left_is_not_in_the_way() {
    let world = World::new();
    let other = world.up("other").await;
    let mut code = world.code(&other).await;
    code.kind = common::trust::JoinKind::Bootstrap;
    let environment = world.environment.as_ref();
    let left = account::prepare_bootstrap(&code, "one", environment).unwrap();
    world.home("one").put_pending(&left).unwrap();
    let one = world.up("one").await;
    one.sync().await;
    one.daemon.stop().await;
    other.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_removed_while_a_sync_waits_and_the_sync_says_so() {
    let world = World::new();
    let one = world.up("one").await;
    let two = world.join(&one, "two").await;
    two.sync().await;
    // Without a server, a sync waits.
    one.daemon.stop().await;
    let (told, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let home = two.home.clone();
    let request = Request::Sync { timeout_ms: None };
    let waiting =
        tokio::task::spawn_blocking(move || ask(&home, &request, |_| told.send(()).unwrap_or(())));
    // By the second report the engine was asked.
    for _ in 0..2 {
        reports.recv().await.unwrap();
    }
    let name = two.home.config().unwrap().folders[0].name.clone();
    let removed = two.ask(Request::FolderRemove { name: name.clone() }).await;
    assert!(matches!(removed, Ok(Answer::Done(_))), "{removed:?}");
    let Err(AskFailure::Refused(failure)) = waiting.await.unwrap() else { panic!("an answer") };
    assert_eq!(failure.kind, "no_such_folder");
    assert!(failure.message.contains(&name), "{failure:?}");
    two.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_is_said() {
    let world = World::new();
    let one = world.up("one").await;
    let files: Vec<_> = (0..30).map(|number| one.root.join(format!("file {number}"))).collect();
    for file in &files {
        fs::write(file, "x").unwrap();
    }
    one.sync().await;
    for file in &files {
        fs::remove_file(file).unwrap();
    }
    let asked = one.ask(Request::Sync { timeout_ms: Some(60_000) }).await.unwrap();
    let Answer::Sync(sync) = asked else { panic!("{asked:?}") };
    assert_eq!(sync.folders[0].state, State::Halted, "{sync:?}");
    let asked = one.ask(Request::Confirm { folder: None, undo: false }).await.unwrap();
    let Answer::Done(done) = asked else { panic!("{asked:?}") };
    assert_eq!(done.on, ["one"]);
    assert_eq!(done.agreed, ["one: this disk would delete or empty 30 of 30 entries"]);
    one.sync().await;
    one.daemon.stop().await;
}
