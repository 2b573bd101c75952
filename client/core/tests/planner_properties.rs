//! Properties of the planner over random triples of trees, with success pretended.
//!
//! `DRIFTLESS_PLANNER_CASES` says how many cases there are in all (50,000 when unset), and
//! `DRIFTLESS_PLANNER_SEED` which ones (those of seed 1 when unset), so that a failure comes again.

#![allow(clippy::unwrap_used, reason = "a test may fail by unwrapping")]

mod world;

use client_core::planner::{Plan, Policy, Step, plan};
use client_core::tree::memory::{MemoryServer, MemoryView};
use client_core::tree::{Kind, LocalNode, RemoteNode, SyncedNode, View, parked_position};
use common::ids::{ContentTag, EntryId};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeSet;
use world::model::{Item, Model, Op, op, ops};
use world::*;

const CASES: u32 = 50_000;

/// Runs a property over its share of the cases.
fn check<S: Strategy>(percent: u32, strategy: S, property: impl Fn(S::Value))
where
    S::Value: std::fmt::Debug,
{
    let cases = std::env::var("DRIFTLESS_PLANNER_CASES")
        .map_or(CASES, |text| text.parse().expect("DRIFTLESS_PLANNER_CASES is a number"));
    let cases = (u64::from(cases) * u64::from(percent) / 100).max(1);
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let seed: u64 = std::env::var("DRIFTLESS_PLANNER_SEED")
        .map_or(1, |text| text.parse().expect("DRIFTLESS_PLANNER_SEED is a number"));
    println!("seed {seed}, {cases} cases");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, random).run(&strategy, |value| {
        property(value);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn local_node(entry: EntryId, item: &Item) -> LocalNode {
    LocalNode {
        entry,
        position: item.position.clone(),
        kind: item.kind,
        content: Some(item.content),
    }
}

fn remote_node(entry: EntryId, item: &Item, revisions: (u64, u64)) -> RemoteNode {
    RemoteNode {
        entry,
        position: item.position.clone(),
        kind: item.kind,
        content: item.content,
        place_revision: revisions.0,
        content_revision: revisions.1,
        deleted: false,
    }
}

fn synced_node(entry: EntryId, item: &Item) -> SyncedNode {
    SyncedNode {
        entry,
        position: item.position.clone(),
        kind: item.kind,
        content: item.content,
        place_revision: 1,
        content_revision: 1,
        held: true,
    }
}

/// A view of three trees; what the remote tree has no more, the synced one had, is a tombstone.
fn view_of(local: &Model, remote: &Model, synced: &Model) -> MemoryView {
    let mut view = MemoryView::default();
    for (entry, item) in &local.items {
        view.insert_local(local_node(*entry, item));
    }
    for (entry, item) in &synced.items {
        view.insert_synced(synced_node(*entry, item));
        if !remote.items.contains_key(entry) {
            let node = remote_node(*entry, item, (3, 1));
            view.server().insert(RemoteNode { deleted: true, ..node });
        }
    }
    for (entry, item) in &remote.items {
        let old = synced.items.get(entry);
        let place = if old.is_some_and(|old| old.position == item.position) { 1 } else { 2 };
        let content = if old.is_some_and(|old| old.content == item.content) { 1 } else { 2 };
        view.server().insert(remote_node(*entry, item, (place, content)));
    }
    view
}

/// What may not be lost: contents on the disk that no base has, and contents at the server that
/// this device has not seen.
fn treasures(view: &MemoryView) -> BTreeSet<ContentTag> {
    let base = |entry: &EntryId| {
        view.remote(entry)?;
        view.synced(entry).filter(|node| node.held).map(|node| node.content.tag)
    };
    let here = view.local_nodes().filter(|node| node.kind != Kind::Directory);
    let here = here.filter_map(|node| Some((node.entry, node.content?.tag)));
    let there = view.remote_nodes().filter(|n| n.kind != Kind::Directory && !n.deleted);
    let there = there.map(|node| (node.entry, node.content.tag));
    here.chain(there).filter(|(entry, tag)| base(entry) != Some(*tag)).map(|(_, tag)| tag).collect()
}

fn check_kept(view: &MemoryView, treasures: &BTreeSet<ContentTag>) {
    let (here, there) = (local_tags(view), remote_tags(view.remote_nodes()));
    for tag in treasures {
        assert!(here.contains(tag) && there.contains(tag), "{tag:?} is lost: {view:#?}");
    }
}

/// A small generator for what shrinking need not touch: the order in a batch.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    fn shuffled(&mut self, steps: &[Step]) -> Vec<Step> {
        let mut steps = steps.to_vec();
        for index in (1..steps.len()).rev() {
            steps.swap(index, self.below(index + 1));
        }
        steps
    }
}

/// Rounds to rest, every batch in another order, every step succeeding.
fn run_shuffled(view: &mut MemoryView, policy: &Policy, dice: &mut Dice) -> Vec<Plan> {
    let mut history = History::of(view);
    let mut plans = Vec::new();
    let mut carried = view.differing();
    for _ in 0..ROUNDS_MAX {
        let differing = view.differing();
        assert!(differing.is_subset(&carried), "{differing:?} beyond {carried:?}: {plans:#?}");
        let planned = plan_all(view, policy);
        if planned.batches.is_empty() {
            return plans;
        }
        carried = mentioned(view, &planned);
        for batch in &planned.batches {
            for step in dice.shuffled(batch) {
                history.check(view, &step);
                history.learn(&step);
                if let Err(refusal) = view.apply(&step) {
                    panic!("{step:?} is refused: {refusal}\nin {planned:#?}\nof {view:#?}");
                }
                check_tree(view);
            }
        }
        plans.push(planned);
    }
    panic!("no rest: {:#?}\n{view:#?}", plans.last());
}

#[test]
fn s4_perturbed_trees_converge_and_keep_everything() {
    let strategy = (ops(12), ops(8), ops(8), any::<u64>());
    check(40, strategy, |(base, here, there, seed)| {
        let base = Model::default().perform(&base);
        let mut view = view_of(&base.by(1).perform(&here), &base.by(2).perform(&there), &base);
        let treasures = treasures(&view);
        run_shuffled(&mut view, &policy(1), &mut Dice(seed));
        check_at_rest(&view, &policy(1));
        check_kept(&view, &treasures);
    });
}

/// What else can be odd about an entry.
#[derive(Clone, Copy, Debug)]
struct Oddity {
    what: u8,
    which: u8,
}

fn oddities() -> impl Strategy<Value = Vec<Oddity>> {
    let one = (0..6_u8, any::<u8>()).prop_map(|(what, which)| Oddity { what, which });
    prop::collection::vec(one, 0..4)
}

fn make_odd(view: &mut MemoryView, oddity: Oddity) {
    let entries: Vec<_> = view.entries().into_iter().collect();
    let Some(entry) = entries.get(usize::from(oddity.which) % entries.len().max(1)) else { return };
    match oddity.what {
        // The base was never materialised.
        0 => {
            if let Some(node) = view.remove_synced(entry) {
                view.insert_synced(SyncedNode { held: false, ..node });
            }
        }
        // The base is gone here.
        1 => drop(view.remove_synced(entry)),
        // The server has forgotten an entry that nothing lies in.
        2 => {
            if view.remote_children(entry).is_empty() {
                view.server().remove(entry);
            }
        }
        // A parked leftover.
        3 => {
            if let Some(node) = view.remove_local(entry) {
                view.insert_local(LocalNode { position: parked_position(entry), ..node });
            }
        }
        // Another kind under the same id.
        4 => {
            let childless = view.local_children(entry).is_empty();
            if let Some(node) = view.remove_local(entry) {
                let kind = match node.kind {
                    Kind::Directory if childless => Kind::File,
                    Kind::File | Kind::Symlink => Kind::Directory,
                    kind @ Kind::Directory => kind,
                };
                let tag = if kind == Kind::Directory { 0 } else { 900 + u16::from(oddity.which) };
                view.insert_local(LocalNode { kind, content: Some(content(tag)), ..node });
            }
        }
        // Not hashed yet.
        _ => {
            if let Some(node) = view.remove_local(entry) {
                view.insert_local(LocalNode { content: None, ..node });
            }
        }
    }
}

/// Hashes what was not hashed.
fn hash_all(view: &mut MemoryView) {
    let unhashed: Vec<_> = view.local_nodes().filter(|n| n.content.is_none()).cloned().collect();
    for (number, node) in unhashed.into_iter().enumerate() {
        let tag =
            if node.kind == Kind::Directory { 0 } else { 800 + u16::try_from(number).unwrap() };
        view.insert_local(LocalNode { content: Some(content(tag)), ..node });
    }
}

#[test]
fn s4_arbitrary_triples_converge_and_keep_everything() {
    let strategy = (ops(10), ops(10), ops(10), ops(10), oddities(), any::<u64>());
    check(20, strategy, |(base, here, there, before, odd, seed)| {
        let base = Model::default().perform(&base);
        let (here, there) = (base.by(1).perform(&here), base.by(2).perform(&there));
        let mut view = view_of(&here, &there, &base.by(2).perform(&before));
        for oddity in odd {
            make_odd(&mut view, oddity);
        }
        let mut dice = Dice(seed);
        let first = treasures(&view);
        run_shuffled(&mut view, &policy(1), &mut dice);
        let unhashed: Vec<_> =
            view.local_nodes().filter(|n| n.content.is_none()).cloned().collect();
        hash_all(&mut view);
        let second = treasures(&view);
        run_shuffled(&mut view, &policy(1), &mut dice);
        check_at_rest(&view, &policy(1));
        let kept = if unhashed.is_empty() { first } else { second };
        check_kept(&view, &kept);
    });
}

#[test]
fn s4_failed_steps_and_changes_in_between_only_delay() {
    let strategy = (ops(10), ops(8), ops(8), prop::collection::vec(op(), 6), any::<u64>());
    check(20, strategy, |(base, here, there, late, seed)| {
        let base = Model::default().perform(&base);
        let mut view = view_of(&base.by(1).perform(&here), &base.by(2).perform(&there), &base);
        let mut server = view.server().clone();
        let mut kept = treasures(&view);
        let mut dice = Dice(seed);
        let mut late = (0..).zip(late);
        let mut history = History::of(&view);
        for _ in 0..8 {
            let planned = plan_all(&view, &policy(1));
            for batch in &planned.batches {
                for step in dice.shuffled(batch) {
                    if dice.below(4) == 0 {
                        continue;
                    }
                    let before = view.clone();
                    if carry_out(&mut view, Some(&mut server), &step).is_ok() {
                        history.check(&before, &step);
                        history.learn(&step);
                    }
                    check_tree(&view);
                }
                if dice.below(2) == 0
                    && let Some((number, op)) = late.next()
                {
                    someone_else(&mut server, number, op, &mut kept);
                    view.pull(&server);
                    history = merged_history(history, &view);
                }
            }
        }
        run_shuffled(&mut view, &policy(1), &mut dice);
        check_at_rest(&view, &policy(1));
        check_kept(&view, &kept);
    });
}

fn merged_history(mut history: History, view: &MemoryView) -> History {
    history.extend(&History::of(view));
    history
}

/// Another device changes something at the server; what it supersedes or deletes it has seen.
fn someone_else(server: &mut MemoryServer, number: u8, op: Op, kept: &mut BTreeSet<ContentTag>) {
    let live = server.nodes().filter(|node| !node.deleted);
    let items = live.map(|n| {
        (n.entry, Item { kind: n.kind, position: n.position.clone(), content: n.content })
    });
    let old = Model { items: items.collect(), author: 3, made: 0, written: 0 };
    let new = Model { author: 4, made: number, written: u16::from(number) * 10, ..old.clone() };
    // Bytes that somebody wrote before might be what this device has seen, and so may go.
    let unique = Op { whither: op.whither / 7 * 7 + 1, ..op };
    let new = new.perform(&[unique]);
    let revision = server.revision() + 1;
    for (entry, item) in &old.items {
        let Some(now) = new.items.get(entry) else {
            kept.remove(&item.content.tag);
            let node = server.node(entry).unwrap().clone();
            server.insert(RemoteNode { deleted: true, place_revision: revision, ..node });
            continue;
        };
        if now.content.tag != item.content.tag {
            kept.remove(&item.content.tag);
        }
        if now != item {
            server.insert(remote_node(*entry, now, (revision, revision)));
        }
    }
    for (entry, item) in &new.items {
        if !old.items.contains_key(entry) && server.node(entry).is_none() {
            server.insert(remote_node(*entry, item, (revision, revision)));
        }
    }
    // What two entries hold is not lost with one of them, but neither is it asked for any more.
    let live = remote_tags(server.nodes());
    for (entry, item) in &new.items {
        let fresh = old.items.get(entry).is_none_or(|old| old.content.tag != item.content.tag);
        if fresh && item.kind != Kind::Directory && live.contains(&item.content.tag) {
            kept.insert(item.content.tag);
        }
    }
}

/// Two devices with one ancestor go to rest, taking turns; returns what they hold.
fn sync_both(base: &Model, edits: [&Model; 2], order: [usize; 2]) -> BTreeSet<ContentTag> {
    let mut views = edits.map(|edit| view_of(edit, base, base));
    let mut server = MemoryServer::default();
    for (entry, item) in &base.items {
        server.insert(remote_node(*entry, item, (1, 1)));
    }
    let policies = [policy(1), policy(2)];
    let mut quiet = 0;
    for turn in 0..ROUNDS_MAX {
        let device = order[turn % 2];
        let view = &mut views[device];
        view.pull(&server);
        let mut worked = false;
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "one device does not come to rest: {view:#?}");
            let planned = plan(view, &view.differing(), &policies[device]);
            if planned.batches.is_empty() {
                break;
            }
            worked = true;
            for step in planned.batches.iter().flatten() {
                if let Err(refusal) = carry_out(view, Some(&mut server), step) {
                    panic!("{step:?} is refused: {refusal}\nin {planned:#?}\nof {view:#?}");
                }
            }
        }
        check_at_rest(view, &policies[device]);
        quiet = if worked { 0 } else { quiet + 1 };
        if quiet == 2 {
            assert_eq!(local_paths(&views[0]), local_paths(&views[1]), "both disks are the same");
            return local_tags(&views[0]);
        }
    }
    panic!("two devices do not come to rest: {views:#?}");
}

#[test]
fn who_goes_first_does_not_decide_what_is_kept() {
    check(20, (ops(12), ops(6), ops(6)), |(base, one, two)| {
        let base = Model::default().perform(&base);
        let (one, two) = (base.by(1).perform(&one), base.by(2).perform(&two));
        let first = sync_both(&base, [&one, &two], [0, 1]);
        let second = sync_both(&base, [&one, &two], [1, 0]);
        assert_eq!(first, second);
    });
}

fn op_of((what, which, whither, name): (u8, u8, u8, u8)) -> Op {
    Op { what, which, whither, name }
}

/// One device renames a directory onto another that it deletes, the other deletes the first.
#[test]
fn what_is_in_a_directory_moved_over_a_deleted_one_is_kept_whoever_goes_first() {
    let base = [(0, 25, 0, 0), (0, 65, 21, 1), (0, 0, 66, 0), (16, 17, 0, 0), (0, 82, 3, 0)];
    let base = Model::default().perform(&base.map(op_of));
    let one = base.by(1).perform(&[(0, 0, 0, 2), (0, 0, 37, 0), (18, 236, 40, 0)].map(op_of));
    let two = base.by(2).perform(&[op_of((15, 169, 0, 2))]);
    let first = sync_both(&base, [&one, &two], [0, 1]);
    let second = sync_both(&base, [&one, &two], [1, 0]);
    assert_eq!(first, second);
}

#[test]
fn s14_too_many_deletions_of_either_side_wait() {
    check(5, (ops(12), ops(8), ops(8), 0..4_u64), |(base, here, there, entries)| {
        let base = Model::default().perform(&base);
        let view = view_of(&base.by(1).perform(&here), &base.by(2).perform(&there), &base);
        let guarded = Policy { guard_entries: entries, ..policy(1) };
        let open = plan_all(&view, &policy(1));
        let planned = plan_all(&view, &guarded);
        // Not on this disk, and this disk would not delete it.
        let gone = view.synced_nodes().filter(|node| {
            let unchanged = |there: &RemoteNode| {
                there.content.tag == node.content.tag && there.position == node.position
            };
            let there = view.remote(&node.entry).filter(|there| !there.deleted);
            let is_here = view.local(&node.entry).is_some();
            node.held && !is_here && !there.as_ref().is_some_and(unchanged)
        });
        let held = view.held_count() - gone.count() as u64;
        let [here, there] = deletions(&open);
        let too_many = |n: u64| n * 100 > 50 * held && n > entries;
        // The guard also counts deletions that have to wait for something else in this round.
        match &planned.halt {
            Some(halt) => assert!(too_many(halt.deletions.len() as u64) && halt.held == held),
            None => assert!(!too_many(here) && !too_many(there)),
        }
        let [left_here, left_there] = deletions(&planned);
        assert!(!too_many(left_here) && !too_many(left_there));
        let agreed = view.differing();
        let confirmed = plan(&view, &agreed, &Policy { agreed: agreed.clone(), ..guarded });
        assert_eq!((confirmed.batches, confirmed.halt), (open.batches, None));
    });
}

/// How many entries a plan deletes at the server and here.
fn deletions(plan: &Plan) -> [u64; 2] {
    use client_core::planner::Change;
    let mut found = [0, 0];
    for step in plan.batches.iter().flatten() {
        match step {
            Step::Push(group) => {
                let deletes = |change: &&Change| matches!(change, Change::Delete { .. });
                found[0] += group.changes.iter().filter(deletes).count() as u64;
            }
            Step::Delete { .. } => found[1] += 1,
            _ => {}
        }
    }
    found
}
