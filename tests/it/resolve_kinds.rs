//! Conflicts between what is of two kinds: whichever side is kept is what is left, at the name that
//! both wanted, and the other stays in the history.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::{Ask, AskError, Keep};
use client::fs::memory::user::UserEntry;
use std::rc::Rc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::world::{Make, World};

type Step = fn(&SimDevice);

const FILE: Step = |device| device.writer.write("n", b"a file");
const LINK: Step =
    |device| device.writer.action("symlink", "n", |user| user.symlink("elsewhere", "n"));
const DIRECTORY: Step = |device| {
    device.writer.make_directory("n");
    device.writer.make_directory("n/deep");
    device.writer.write("n/inside", b"inside");
    device.writer.write("n/deep/er", b"deeper");
};

async fn ask_to_keep(device: &SimDevice, keep: Keep) -> Result<(), AskError> {
    device.handle().unwrap().ask(|answer| Ask::Resolve("n".to_owned(), keep, answer)).await?;
    Ok(())
}

/// What both devices show once they agree.
async fn settled(world: &World) -> Vec<(String, String)> {
    world.settled_alike().await;
    let shown = |entry: UserEntry| match entry {
        UserEntry::File(bytes, _) => String::from_utf8_lossy(&bytes).into_owned(),
        UserEntry::Symlink(target) => format!("-> {}", String::from_utf8_lossy(&target)),
        UserEntry::Directory(_) => "/".to_owned(),
        UserEntry::Other => panic!("nobody made that"),
    };
    let tree = world.devices[0].fs.user().tree();
    tree.into_iter().map(|(path, entry)| (path, shown(entry))).collect()
}

/// The first device makes one, the second the other; then the first keeps `keep`.
fn resolved(first: Step, second: Step, keep: Keep) -> Vec<(String, String)> {
    in_virtual_time(async {
        let world = World::new(Make { seed: 2, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        two.link.set_up(false);
        first(&one);
        second(&two);
        tokio::time::sleep(Duration::from_secs(5)).await; // ok: virtual time
        two.link.set_up(true);
        settled(&world).await;
        assert_eq!(one.handle().unwrap().summary().conflicts, 1);
        ask_to_keep(&one, keep).await.unwrap();
        let shown = settled(&world).await;
        for device in [&one, &two] {
            assert_eq!(device.handle().unwrap().summary().conflicts, 0);
        }
        shown
    })
}

fn shows(tree: &[(&str, &str)]) -> Vec<(String, String)> {
    tree.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect()
}

#[test]
fn of_two_kinds_the_one_that_is_kept_has_the_name() {
    let file = shows(&[("n", "a file")]);
    let link = shows(&[("n", "-> elsewhere")]);
    let directory =
        shows(&[("n", "/"), ("n/deep", "/"), ("n/deep/er", "deeper"), ("n/inside", "inside")]);
    let all = [(FILE, file), (LINK, link), (DIRECTORY, directory)];
    for (first, mine) in &all {
        for (second, theirs) in all.iter().filter(|(_, theirs)| theirs != mine) {
            assert_eq!(resolved(*first, *second, Keep::Mine), *mine);
            assert_eq!(resolved(*first, *second, Keep::Theirs), *theirs);
        }
    }
}

#[test]
fn a_directory_that_holds_too_much_to_go_at_once_is_for_a_person_to_delete() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 2, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        two.link.set_up(false);
        FILE(&one);
        two.writer.make_directory("n");
        for number in 0..600 {
            two.writer.write_new(&format!("n/{number}"));
        }
        tokio::time::sleep(Duration::from_secs(5)).await; // ok: virtual time
        two.link.set_up(true);
        let before = settled(&world).await;
        let refused = ask_to_keep(&one, Keep::Mine).await;
        assert!(
            matches!(&refused, Err(AskError::Refused(why)) if why.contains("resolve again")),
            "{refused:?}"
        );
        assert_eq!(settled(&world).await, before);
        one.writer.delete("n (conflict 2026-11-22 device1)");
        // That is an answer too: nothing is left to settle.
        assert_eq!(settled(&world).await, shows(&[("n", "a file")]));
        assert_eq!(one.handle().unwrap().summary().conflicts, 0);
        assert_eq!(two.handle().unwrap().summary().conflicts, 0);
    });
}
