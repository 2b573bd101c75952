//! Names and places that a rogue device of the user's seals and signs, against a real engine. What
//! the service cannot see through is listed as an issue where it arrives, and nothing else stops;
//! what the service refuses is delivered past it by a lying server, and halts the folder.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use common::ids::EntryId;
use common::record::{Change, Kind};
use common::wire::meta::RejectionCode;
use tests::sim::scene::{BEFORE, Scene, play};

const ROOT: EntryId = EntryId::ROOT;

/// A rogue makes files, directories and links of these names: none is made here, each is an issue,
/// and the rest goes on.
fn refused(names: &[&[u8]], reason: &str) {
    play(async |scene: &Scene| {
        let mut changes = vec![scene.rogue.touch(ROOT, b"with it", b"a file of the group").await];
        for name in names {
            changes.extend(one_of_each_kind(scene, name).await);
        }
        scene.is_an_issue(changes, reason, &[BEFORE, "with it"]).await;
        let listed = scene.summary().issues;
        let listed = listed.iter().filter(|issue| issue.reason.contains(reason)).count();
        assert_eq!(listed, names.len(), "each is listed");
    });
}

/// Below a name that cannot be: nothing of it may reach the disk.
async fn one_of_each_kind(scene: &Scene, name: &[u8]) -> Vec<Change> {
    let rogue = &scene.rogue;
    let top = rogue.mkdir(rogue.fresh(), ROOT, name);
    let Change::Create { entry: directory, .. } = top else { unreachable!("it is a creation") };
    let link = rogue.fresh();
    let content = rogue.symlink(&link, b"/etc/passwd");
    let place = rogue.place(&link, directory, b"link");
    vec![
        top,
        rogue.touch(directory, b"file below", b"below what cannot be").await,
        rogue.create(link, Kind::Symlink, place, content),
    ]
}

#[test]
fn dot_dot_is_an_issue_and_nothing_else_stops() {
    refused(&[b".."], "`.` and `..` are not names");
}

#[test]
fn an_absolute_a_drive_and_a_unc_name_are_issues_and_nothing_else_stops() {
    let names: &[&[u8]] =
        &[b"/etc/passwd", b"C:\\Windows", b"\\\\server\\share", b"/", b"\\\\?\\C:\\x"];
    refused(names, "path separator");
}

#[test]
fn nul_and_control_bytes_in_a_name_are_issues_and_nothing_else_stops() {
    refused(&[b"a\0b", b"\0", b"line\nline", b"\x1b[2J", b"\x7f", b"\xc2\x85"], "control");
}

#[test]
fn an_empty_name_is_an_issue_and_nothing_else_stops() {
    refused(&[b""], "the name is empty");
}

#[test]
fn a_dot_is_an_issue_and_nothing_else_stops() {
    refused(&[b"."], "`.` and `..` are not names");
}

#[test]
fn a_name_with_a_slash_is_an_issue_and_nothing_else_stops() {
    refused(&[b"a/b", b"../../up", b"./a", b"a/"], "path separator");
}

#[test]
fn a_name_with_a_backslash_is_an_issue_and_nothing_else_stops() {
    refused(&[b"a\\b", b"..\\up", b"a\\"], "path separator");
}

#[test]
fn a_name_of_256_bytes_is_an_issue_and_nothing_else_stops() {
    refused(&[&[b'x'; 256], &[b'x'; 400]], "over the limit of 255");
}

#[test]
fn a_name_that_is_not_utf_8_is_an_issue_and_nothing_else_stops() {
    refused(&[b"\xff\xfe", b"caf\xe9", b"\xc0\xae\xc0\xae", b"\xed\xa0\x80"], "not valid UTF-8");
}

#[test]
fn a_name_of_our_own_directory_is_an_issue_and_nothing_else_stops() {
    refused(&[b".driftless", b".DRIFTLESS", b".Driftless"], "Driftless' own directory");
}

/// Another name of the directory, and then a file in it: there is no entry that could stand for it.
#[test]
fn nothing_is_placed_inside_our_own_directory() {
    play(async |scene: &Scene| {
        let before = scene.victim.fs.user().private_tree();
        let private = scene.rogue.fresh();
        let staging = scene.rogue.fresh();
        let changes = vec![
            scene.rogue.mkdir(private, ROOT, b".driftless"),
            scene.rogue.mkdir(staging, private, b"staging"),
            scene.rogue.touch(private, b"root", b"another marker").await,
            scene.rogue.touch(staging, b"planted", b"planted in staging").await,
        ];
        scene.is_an_issue(changes, "Driftless' own directory", &[BEFORE]).await;
        assert_eq!(scene.victim.fs.user().private_tree(), before);
    });
}

/// Linux and macOS hold them: they are names like others there. What another platform cannot hold is
/// an issue of that platform's devices (`names_and_paths_that_cannot_be_held_are_issues`).
#[test]
fn device_names_and_trailing_dots_are_names_here() {
    play(async |scene: &Scene| {
        let names = ["AUX", "COM1.txt", "CON", "NUL", "dot.", "nul.c", "space ", "stream:x"];
        let mut changes = Vec::new();
        for name in names {
            changes.push(scene.rogue.touch(ROOT, name.as_bytes(), name.as_bytes()).await);
        }
        assert!(scene.rogue.commit(changes).await.is_ok());
        scene.wait().await;
        let mut paths: Vec<&str> = names.into_iter().chain([BEFORE]).collect();
        paths.sort_unstable();
        scene.shows(&paths);
        assert_eq!(scene.summary().issues, []);
        scene.goes_on().await;
    });
}

#[test]
fn names_in_both_normal_forms_are_two_files_where_the_disk_tells_them_apart() {
    both_are_made("caf\u{e9}", "cafe\u{301}");
}

#[test]
fn names_that_differ_in_case_are_two_files_where_the_disk_tells_them_apart() {
    both_are_made("Foo", "foo");
}

fn both_are_made(one: &'static str, two: &'static str) {
    play(async |scene: &Scene| {
        assert!(scene.rogue.commit(pair(scene, one, two).await).await.is_ok());
        scene.wait().await;
        let mut paths = vec![one, two, BEFORE];
        paths.sort_unstable();
        scene.shows(&paths);
        scene.goes_on().await;
    });
}

async fn pair(scene: &Scene, one: &str, two: &str) -> Vec<Change> {
    vec![
        scene.rogue.touch(ROOT, one.as_bytes(), b"1").await,
        scene.rogue.touch(ROOT, two.as_bytes(), b"2").await,
    ]
}

/// The sealed name says one thing and the tag, which keeps names unique, another.
#[test]
fn a_name_under_the_tag_of_another_is_an_issue_and_nothing_else_stops() {
    play(async |scene: &Scene| {
        let change = scene.rogue.touch(ROOT, b"seen", b"twice").await;
        let Change::Create { entry, kind, mut place, content } = change else {
            unreachable!("it is a creation")
        };
        place.name_tag = scene.rogue.forge().name_tag(&ROOT, b"told");
        let change = scene.rogue.create(entry, kind, place, content);
        scene.is_an_issue(vec![change], "name tag", &[BEFORE]).await;
    });
}

/// So two entries can have one name, which the service cannot see: both under tags of their own.
#[test]
fn two_entries_of_one_name_that_the_service_cannot_tell_are_an_issue() {
    play(async |scene: &Scene| {
        let honest = scene.rogue.touch(ROOT, b"name", b"the one").await;
        let change = scene.rogue.touch(ROOT, b"name", b"the other").await;
        let Change::Create { entry, kind, mut place, content } = change else {
            unreachable!("it is a creation")
        };
        place.name_tag = scene.rogue.forge().name_tag(&ROOT, b"another name");
        let changes = vec![honest, scene.rogue.create(entry, kind, place, content)];
        scene.is_an_issue(changes, "name tag", &[BEFORE, "name"]).await;
        assert_eq!(scene.victim.fs.user().read("name").unwrap(), b"the one");
    });
}

/// What was a file here is moved to where it cannot be: it stays as it was, and can be mended.
#[test]
fn a_file_moved_to_a_name_that_cannot_be_stays_as_it_was() {
    play(async |scene: &Scene| {
        let entry = scene.rogue.fresh();
        let content = scene.rogue.file(&entry, b"a file of the rogue's").await;
        let place = scene.rogue.place(&entry, ROOT, b"file");
        let created = scene.rogue.create(entry, Kind::File, place, content);
        let base = scene.rogue.commit(vec![created]).await.unwrap();
        scene.wait().await;
        scene.shows(&[BEFORE, "file"]);
        let place = scene.rogue.place(&entry, ROOT, b"..");
        let moved = Change::Move { entry, base, place };
        let base = scene.rogue.commit(vec![moved]).await.unwrap();
        scene.wait().await;
        scene.lists("`.` and `..` are not names");
        scene.shows(&[BEFORE, "file"]);
        scene.goes_on().await;
        let place = scene.rogue.place(&entry, ROOT, b"mended");
        assert!(scene.rogue.commit(vec![Change::Move { entry, base, place }]).await.is_ok());
        scene.wait().await;
        assert_eq!(scene.summary().issues, []);
        scene.shows(&[BEFORE, "mended", "zz down", "zz up"]);
    });
}

#[test]
fn ten_thousand_levels_are_refused_by_the_service() {
    play(async |scene: &Scene| {
        let mut parent = ROOT;
        let mut judged = Vec::new();
        for _ in 0..20 {
            let mut changes = Vec::new();
            for _ in 0..500 {
                let entry = scene.rogue.fresh();
                changes.push(scene.rogue.mkdir(entry, parent, b"d"));
                parent = entry;
            }
            judged.push(scene.rogue.commit(changes).await);
        }
        assert!(judged[0].is_ok());
        assert_eq!(judged[1], Err(RejectionCode::Malformed), "the 513th level");
        assert!(judged[2..].iter().all(|code| *code == Err(RejectionCode::NoParent)));
        scene.wait().await;
        let deepest = scene.paths().iter().map(|path| path.split('/').count()).max();
        assert_eq!(deepest, Some(500));
        scene.goes_on().await;
    });
}

#[test]
fn ten_thousand_levels_past_the_service_raise_the_alarm() {
    play(async |scene: &Scene| {
        let mut parent = ROOT;
        let groups = (0..20).map(|_| {
            let level = |_| {
                let entry = scene.rogue.fresh();
                let change = scene.rogue.mkdir(entry, parent, b"d");
                parent = entry;
                change
            };
            (0..500).map(level).collect()
        });
        scene.lie(scene.rogue.past_the_service(groups.collect()));
        scene.wait().await;
        scene.halts("too deep");
    });
}

/// The server deletes no directory that holds something, and this device cannot say what it is.
#[test]
fn a_directory_with_a_name_that_cannot_be_is_not_deleted_at_the_server_and_listed() {
    play(async |scene: &Scene| {
        let directory = scene.rogue.fresh();
        let changes = vec![
            scene.rogue.mkdir(directory, ROOT, b"held"),
            scene.rogue.touch(directory, b"a/b", b"of a name that cannot be").await,
        ];
        scene.is_an_issue(changes, "path separator", &[BEFORE, "held"]).await;
        scene.victim.writer.action("rmdir", "held", |user| user.remove("held"));
        scene.wait().await;
        scene.lists("holds something there that this device cannot read");
        scene.goes_on().await;
    });
}
