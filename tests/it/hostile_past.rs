//! A server that lies about what a folder was, against a real engine: what a device knows of the
//! folder's present says that it cannot be, and nothing made up is shown.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::handle::{AskError, Listing, Moment};
use client::engine::{Ask, FolderHandle};
use common::record::{Earlier, EarlierMessage, Kind, RegistersMessage, Was};
use common::wire::meta::{PastPart, Reply, Version, VersionsPart};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::network::Hostile;
use tests::sim::world::{Make, World};

/// What is told, and where it goes on.
type Lie = fn(&mut Vec<Earlier>, &mut Vec<u8>);

struct Liar(Lie);

impl Hostile for Liar {
    fn replies(&self, replies: Vec<Reply>) -> Vec<Reply> {
        let lied = replies.into_iter().map(|reply| match reply {
            Reply::Past(PastPart { entries, mut next }) => {
                let told: Result<Vec<Earlier>, _> =
                    entries.into_iter().map(Earlier::try_from).collect();
                let mut told = told.unwrap();
                (self.0)(&mut told, &mut next);
                let entries = told.iter().map(EarlierMessage::from).collect();
                Reply::Past(PastPart { entries, next })
            }
            other => other,
        });
        lied.collect()
    }
}

/// What a list of versions becomes, by how many pages were told before it.
type Endless = fn(u64, &mut VersionsPart);

/// Pages that are lied about: more than it takes to see through any of the lies.
const PAGES_OF_LIES: u64 = 2000;

struct Lister(Endless, AtomicU64);

impl Hostile for Lister {
    fn replies(&self, mut replies: Vec<Reply>) -> Vec<Reply> {
        for reply in &mut replies {
            if let Reply::Versions(part) = reply {
                let page = self.1.fetch_add(1, Ordering::Relaxed);
                if page < PAGES_OF_LIES {
                    part.more = true;
                    (self.0)(page, part);
                }
            }
        }
        replies
    }
}

fn was(told: &mut [Earlier], which: fn(&Was) -> bool) -> &mut Was {
    told.iter_mut().filter_map(|it| it.was.as_mut()).find(|it| which(it)).unwrap()
}

/// An edit: only its content is told.
fn edited(told: &mut [Earlier]) -> &mut Was {
    was(told, |it| it.place.is_none() && it.content.is_some())
}

/// A move: only its place is told.
fn moved(told: &mut [Earlier]) -> &mut Was {
    was(told, |it| it.place.is_some() && it.content.is_none())
}

/// A directory that is not there any more: all of it is told.
fn deleted(told: &mut [Earlier]) -> &mut Was {
    was(told, |it| it.kind == Kind::Directory)
}

async fn listed(handle: &FolderHandle, at: u64) -> Result<Vec<String>, AskError> {
    let what = Listing::At(Moment::Revision(at));
    let listed = handle.ask(|answer| Ask::List(String::new(), what, answer)).await?;
    Ok(listed.entries.into_iter().map(|entry| format!("{} {}", entry.path, entry.size)).collect())
}

/// A folder that is another now than it was.
async fn changed(world: &World, device: &SimDevice) -> u64 {
    let settle = async || assert!(world.settle().await, "{:#?}", world.ledger.tail());
    for name in ["kept", "edited", "moved", "both"] {
        device.writer.write(name, b"1");
    }
    device.writer.make_directory("deleted");
    settle().await;
    let at = device.handle().unwrap().summary().cursor.unwrap().revision;
    device.writer.write("edited", b"22");
    device.writer.rename("moved", "elsewhere");
    device.writer.delete("deleted");
    device.writer.write("new", b"333");
    device.writer.write("both", b"22");
    settle().await;
    device.writer.rename("both", "two");
    settle().await;
    at
}

#[test]
fn a_past_that_cannot_be_is_not_shown() {
    let lies: [(&str, Lie); 9] = [
        ("leaves out", |told, _| told.clear()),
        ("leaves out", |told, _| told.retain(|it| it.was.is_some())),
        ("leaves out", |told, _| edited(told).content = None),
        ("leaves out", |told, _| moved(told).place = None),
        ("leaves out", |told, _| edited(told).content.as_mut().unwrap().0 = 1 << 40),
        ("not there", |told, _| deleted(told).content = None),
        ("not there", |told, _| deleted(told).place = None),
        ("another kind", |told, _| edited(told).kind = Kind::Directory),
        ("tells an entry twice", |_, next| *next = vec![7; 16]),
    ];
    in_virtual_time(async {
        let world = World::new(Make { seed: 7, devices: 1, grain_ns: 1, ..Make::default() }).await;
        let device = Rc::clone(&world.devices[0]);
        world.end_faults().await;
        let at = changed(&world, &device).await;
        let handle = device.handle().unwrap();
        let honest = ["both 1", "deleted 0", "edited 1", "kept 1", "moved 1"];
        assert_eq!(listed(&handle, at).await.unwrap(), honest);
        for (reason, lie) in lies {
            device.link.set_hostile(Some(Arc::new(Liar(lie))));
            let error = listed(&handle, at).await.expect_err(reason).to_string();
            assert!(error.contains(reason), "{error} is not: {reason}");
        }
        // Another's seals do not open: it is not shown, and the rest is.
        device.link.set_hostile(Some(Arc::new(Liar(|told, _| {
            let others = deleted(told).content.clone();
            edited(told).content = others;
        }))));
        let rest = ["both 1", "deleted 0", "kept 1", "moved 1"];
        assert_eq!(listed(&handle, at).await.unwrap(), rest);
        device.link.set_hostile(None);
        assert_eq!(listed(&handle, at).await.unwrap(), honest);
    });
}

#[test]
fn a_list_that_never_ends_holds_nobody_up() {
    let stands = "begins where";
    let deleted: [(&str, Endless); 3] = [
        (stands, |_, part| part.next_entry.clear()),
        (stands, |_, part| part.next_entry = vec![7; 16]),
        (stands, |page, part| part.next_entry = (!page).to_be_bytes().repeat(2)),
    ];
    let timeline: [(&str, Endless); 7] = [
        (stands, |_, part| *part = VersionsPart { more: true, ..VersionsPart::default() }),
        (stands, |_, part| (part.next_revision, part.next_entry) = (1, vec![7; 16])),
        (stands, |page, part| part.next_revision = page + 1),
        // Of one revision, nothing and for ever; and all of it, in pages that lead on.
        ("does not end", |page, part| {
            part.versions.clear();
            (part.next_revision, part.next_entry) = (1, page.to_be_bytes().repeat(2));
        }),
        ("does not end", |page, part| {
            let row = Version { revision: 1 << 40, ..part.versions[0].clone() };
            (part.versions, part.next_revision) = (vec![row; 100], 1 << 40);
            part.next_entry = page.to_be_bytes().repeat(2);
        }),
        ("not in order", |page, part| {
            part.versions.reverse();
            (part.next_revision, part.next_entry) = (1, page.to_be_bytes().repeat(2));
        }),
        ("not in order", |page, part| {
            (part.more, part.next_revision) = (true, 1 << 40);
            part.next_entry = page.to_be_bytes().repeat(2);
        }),
    ];
    in_virtual_time(async {
        let world = World::new(Make { seed: 7, devices: 1, grain_ns: 1, ..Make::default() }).await;
        let device = Rc::clone(&world.devices[0]);
        world.end_faults().await;
        changed(&world, &device).await;
        let handle = device.handle().unwrap();
        let lie = |lie| device.link.set_hostile(Some(Arc::new(Lister(lie, AtomicU64::new(0)))));
        let refused = |reason: &str, told: Result<(), AskError>| {
            let error = told.expect_err(reason).to_string();
            assert!(error.contains(reason), "{error} is not: {reason}");
        };
        for (reason, endless) in deleted {
            lie(endless);
            let told = handle.ask(|it| Ask::List(String::new(), Listing::Deleted, it)).await;
            refused(reason, told.map(drop));
        }
        for (reason, endless) in timeline {
            lie(endless);
            let told = handle.ask(|it| Ask::Log(String::new(), 0, 1000, it)).await;
            refused(reason, told.map(drop));
        }
        // Seals would be opened by the entry that it names.
        lie(|_, part| part.versions[0].registers = Some(RegistersMessage::default()));
        let told = handle.ask(|it| Ask::Log("edited".to_owned(), 0, 1000, it)).await;
        refused("another entry", told.map(drop));
        device.link.set_hostile(None);
        let log = handle.ask(|it| Ask::Log(String::new(), 0, 1000, it)).await.unwrap();
        assert!(!log.more && log.versions.len() > 5, "{log:#?}");
    });
}
