//! A home's files: what is written is read back, and what is wrong is told.

use super::*;
use crate::engine::Pins;
use common::ids::{ClusterId, Head};
use common::keys::{DeviceKeys, UserSecrets};
use common::revision::Cursor;
use common::trust::{JoinCode, JoinKind};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn home() -> (tempfile::TempDir, Home) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::locate(Some(directory.path().join("home"))).unwrap();
    home.create().unwrap();
    (directory, home)
}

fn keys() -> StoredKeys {
    let mut secrets = UserSecrets::first([1; 32]);
    secrets.add(2, [2; 32]);
    StoredKeys { device: DeviceKeys::from_seed([7; 32]), secrets }
}

fn config() -> Config {
    Config {
        device: "laptop \"one\"".into(),
        server: ServerConfig {
            addresses: vec!["192.0.2.1:4747".into(), "host:1".into()],
            cluster: ClusterId::from_bytes([3; 32]),
            embedded: true,
            listen: Some("0.0.0.0:4747".into()),
        },
        folders: vec![FolderConfig {
            id: FolderId::from_bytes([4; 32]),
            name: "notes".into(),
            path: "/home/me/notes ü".into(),
            paused: true,
        }],
        merge_tool: Some("meld {mine} {base} {theirs} -o {merged}".to_owned()),
        invited: vec![(
            FolderId::from_bytes([4; 32]),
            Cursor { epoch: 1, revision: 9, head: Head::from_bytes([5; 32]) },
        )],
    }
}

#[test]
fn what_is_written_is_read_back() {
    let (_directory, home) = home();
    assert!(!home.is_enrolled());
    home.put_config(&config()).unwrap();
    home.put_keys(&keys()).unwrap();
    let keyring = StoredKeyring { version: 3, sealed: vec![1, 2, 3] };
    home.put_keyring(&keyring).unwrap();
    let records = vec![vec![1; 10], Vec::new(), vec![2; 1000]];
    home.put_device_log(&records).unwrap();
    assert!(home.is_enrolled());
    assert_eq!(home.config().unwrap(), config());
    let read = home.keys().unwrap();
    assert_eq!(read.device.seed(), keys().device.seed());
    assert_eq!(read.secrets, keys().secrets);
    assert_eq!(home.keyring().unwrap(), Some(keyring));
    assert_eq!(home.device_log().unwrap(), records);
    for name in ["config.toml", "keys", "keyring", "device-log"] {
        let mode = fs::metadata(home.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(!home.path().join(format!("{name}.new")).exists());
    }
    let mode = fs::metadata(home.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn an_enrolment_is_noted_until_it_is_forgotten() {
    let (_directory, home) = home();
    assert!(home.pending().unwrap().is_none());
    let code = |kind| JoinCode {
        kind,
        addresses: vec!["a:1".into()],
        cluster: ClusterId::from_bytes([1; 32]),
        secret: [2; 32],
    };
    let device = PendingKind::Device { log: vec![vec![1], vec![2, 3]], blob: vec![4] };
    let bootstrap = PendingKind::Bootstrap { recovery: [6; 32] };
    for (kind, code) in [(device, code(JoinKind::Device)), (bootstrap, code(JoinKind::Bootstrap))] {
        let pending = Pending { code, keys: keys(), name: "n".into(), record: vec![9], kind };
        home.put_pending(&pending).unwrap();
        let read = home.pending().unwrap().unwrap();
        assert_eq!(
            (read.code, read.name, read.record),
            (pending.code, pending.name, pending.record)
        );
        assert_eq!(read.kind, pending.kind);
        assert_eq!(read.keys.device.seed(), pending.keys.device.seed());
    }
    home.clear_pending().unwrap();
    home.clear_pending().unwrap();
    assert!(home.pending().unwrap().is_none());
}

#[test]
fn damaged_missing_and_exposed_files_are_told_apart() {
    let (_directory, home) = home();
    assert!(matches!(home.config(), Err(HomeError::NotEnrolled { .. })));
    assert!(matches!(home.keys(), Err(HomeError::Missing { .. })));
    assert!(matches!(home.device_log(), Err(HomeError::Missing { .. })));
    home.put_keys(&keys()).unwrap();
    let whole = fs::read(home.keys_path()).unwrap();
    for at in [0, 30, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        fs::write(home.keys_path(), altered).unwrap();
        assert!(matches!(home.keys(), Err(HomeError::Malformed { .. })), "{at}");
    }
    fs::write(home.keys_path(), &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(home.keys(), Err(HomeError::Malformed { .. })));
    fs::set_permissions(home.keys_path(), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(home.keys(), Err(HomeError::Exposed { mode: 0o640, .. })));
    for text in ["", "version = 2", "version = 1", "\u{fffd}", "version = 1\ndevice = 3"] {
        fs::write(home.config_path(), text).unwrap();
        assert!(matches!(home.config(), Err(HomeError::Config { .. })), "{text}");
    }
}

#[test]
fn a_mistake_of_a_person_in_the_configuration_is_told_in_one_line_with_its_key() {
    let (_directory, home) = home();
    home.put_config(&Config { merge_tool: None, ..config() }).unwrap();
    let whole = fs::read_to_string(home.config_path()).unwrap();
    for (before, says) in [
        ("merge_tool = 5", "line 2, `merge_tool = 5`: invalid type"),
        ("merge_tol = \"x\"", "line 2, `merge_tol = \"x\"`: unknown field `merge_tol`"),
        ("merge_tool = ", "line 2, `merge_tool =`: "),
    ] {
        fs::write(home.config_path(), format!("# mine\n{before}\n{whole}")).unwrap();
        let error = home.config().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    // Where people add lines, and where it would be a folder's.
    let number = whole.lines().count() + 1;
    fs::write(home.config_path(), format!("{whole}merge_tool = \"x\"\n")).unwrap();
    let error = home.config().unwrap_err().to_string();
    let says = format!(
        "line {number}, `merge_tool = \"x\"`: merge_tool belongs above the first line that begins with `[`"
    );
    assert!(error.contains(&says), "{error}");
}

#[test]
fn a_second_daemon_is_told_of_the_first() {
    let (_directory, home) = home();
    assert_eq!(home.running().unwrap(), None);
    let lock = home.lock().unwrap();
    let own = std::process::id();
    match home.lock() {
        Err(HomeError::InUse { pid }) => assert_eq!(pid, Some(own)),
        other => panic!("{other:?}"),
    }
    assert_eq!(home.running().unwrap(), Some(Some(own)));
    drop(lock);
    assert_eq!(home.running().unwrap(), None);
    home.lock().unwrap();
}

#[test]
fn folders_are_found_by_name_or_the_front_of_their_id() {
    let config = config();
    assert!(config.folder_named("notes").is_some());
    assert!(config.folder_named("04040404").is_some());
    assert!(config.folder_named("0404").is_none());
    assert!(config.folder_named("other").is_none());
}

#[test]
fn a_state_is_removed_with_its_journal() {
    let (_directory, home) = home();
    let folder = FolderId::from_bytes([1; 32]);
    let path = home.state_path(&folder);
    for suffix in ["", "-wal"] {
        fs::write(format!("{}{suffix}", path.display()), b"x").unwrap();
    }
    home.remove_state(&folder).unwrap();
    assert_eq!(fs::read_dir(home.state_directory()).unwrap().count(), 0);
    let pins = home.pins().unwrap();
    assert_eq!(pins.pinned(&folder), None);
}
