//! The simulation of the whole system, over many seeds.
//!
//! `DRIFTLESS_SIM_SEEDS=count` says how many seeds (1000 in CI), `DRIFTLESS_SIM_SEED=n` runs one
//! and prints all its events, `DRIFTLESS_SIM_FIRST=n` says where to begin,
//! `DRIFTLESS_SIM_FOLLOW=n` shows where each device has a value; `DRIFTLESS_SIM_PLANTED=n` begins
//! with the n-th planted bug.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tests::sim::device::CrashNow;
use tests::sim::planted::Planted;
use tests::sim::report::Report;
use tests::sim::story::{Ending, Kinds, Options, run};

/// Actions of the user in each of a seed's two phases.
const ACTIONS: usize = 24;
/// Threads, each with a runtime of its own.
const THREADS: usize = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Simulated crashes unwind as panics: they are no news.
fn be_quiet_about_crashes() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<CrashNow>().is_none() {
                usual(info);
            }
        }));
    });
}

fn options(seed: u64) -> Options {
    let follow = number("DRIFTLESS_SIM_FOLLOW");
    Options { seed, actions: ACTIONS, planted: None, trace: false, trouble: None, follow }
}

fn describe(ending: &Ending) -> String {
    let tail: Vec<&String> = ending.tail.iter().rev().take(60).rev().collect();
    format!(
        "seed {} broke:\n  {}\nlast events:\n  {}\nagain: DRIFTLESS_SIM_SEED={} cargo test -p tests \
         --test simulation -- --nocapture",
        ending.seed,
        ending.violations.join("\n  "),
        tail.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n  "),
        ending.seed
    )
}

#[test]
fn two_files_reach_all_devices() {
    be_quiet_about_crashes();
    let ending = run(Options {
        actions: 3,
        trouble: Some(Kinds::default()),
        trace: std::env::var("DRIFTLESS_SIM_TRACE").is_ok(),
        ..options(1)
    });
    assert!(ending.violations.is_empty(), "{}", describe(&ending));
}

#[test]
fn no_rule_is_broken_whatever_the_seed() {
    hold(number("DRIFTLESS_SIM_SEEDS").unwrap_or(1000), options);
}

/// S10, N3 and N4 where it is hardest: of every seed the history is thinned, and garbage collected
/// beside the uploads, all the time. A tenth as many seeds, of the same numbers.
#[test]
fn no_rule_is_broken_while_history_is_thinned_and_collected_all_the_time() {
    let report = hold(number("DRIFTLESS_SIM_SEEDS").unwrap_or(1000).div_ceil(10), |seed| {
        let kinds = Kinds { thinning: true, gc: true, ..Kinds::draw(seed) };
        Options { trouble: Some(kinds), ..options(seed) }
    });
    // What keeps everything breaks no rule either. In a few seeds it may come to nothing.
    if let Some(report) = report.filter(|report| report.seeds >= 10) {
        assert!(report.thinned > 0, "no version was ever released: {report}");
        assert!(report.collected > 0, "no garbage was ever purged: {report}");
    }
}

/// Runs so many seeds and tells what happened in them, or the one that was asked for.
fn hold(count: u64, options: impl Fn(u64) -> Options + Sync) -> Option<Report> {
    be_quiet_about_crashes();
    if let Some(seed) = number("DRIFTLESS_SIM_SEED") {
        let ending = run(Options { trace: true, ..options(seed) });
        assert!(ending.violations.is_empty(), "{}", describe(&ending));
        return None;
    }
    let first = number("DRIFTLESS_SIM_FIRST").unwrap_or(1);
    let (next, total) = (AtomicU64::new(first), Mutex::new(Report::default()));
    let failed: Mutex<Vec<Ending>> = Mutex::default();
    let begun = Instant::now(); // ok: printed in the report, asserted by nothing
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let ending = run(options(seed));
                    total.lock().unwrap().add(&ending.report);
                    if !ending.violations.is_empty() {
                        println!("seed {seed}: {}", ending.violations[0]);
                        failed.lock().unwrap().push(ending);
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{total} in {} s", begun.elapsed().as_secs());
    let failed = failed.into_inner().unwrap();
    let seeds: Vec<u64> = failed.iter().map(|ending| ending.seed).collect();
    assert!(failed.is_empty(), "seeds {seeds:?} failed\n{}", describe(&failed[0]));
    Some(total)
}

/// Seeds in which a planted bug has to show.
const PLANTED_SEEDS: u64 = 60;
/// Actions of the user in each phase of those.
const PLANTED_ACTIONS: usize = 40;

/// A suite that never fails proves nothing: each of these bugs breaks a rule in some early seed.
#[test]
fn planted_bugs_are_all_caught() {
    be_quiet_about_crashes();
    let next = AtomicU64::new(number("DRIFTLESS_SIM_PLANTED").unwrap_or(0));
    let missed: Mutex<Vec<Planted>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(planted) = Planted::ALL.get(index) else { return };
                    let caught = (1..=PLANTED_SEEDS).find_map(|seed| {
                        let ending = run(Options {
                            planted: Some(*planted),
                            trouble: Some(trouble_for(*planted)),
                            actions: actions_for(*planted),
                            ..options(seed)
                        });
                        // Going round in circles is no broken promise of the planted kind.
                        let mut broken = ending.violations.into_iter();
                        let is_caught =
                            |text: &String| planted.is_caught_by(text) && !text.contains("circles");
                        broken.find(is_caught).map(|text| (seed, text))
                    });
                    match caught {
                        Some((seed, text)) => println!("{planted:?}: seed {seed}: {text}"),
                        None => missed.lock().unwrap().push(*planted),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not caught in {PLANTED_SEEDS} seeds: {missed:?}");
}

/// How much has to happen for a bug to show: that a user comes between a look and a deletion is rare.
fn actions_for(planted: Planted) -> usize {
    match planted {
        Planted::ExchangeWithoutComparing | Planted::DeleteWithoutComparing => 3 * PLANTED_ACTIONS,
        _ => PLANTED_ACTIONS,
    }
}

/// The trouble in which a bug shows.
fn trouble_for(planted: Planted) -> Kinds {
    match planted {
        Planted::SyncWithoutSyncing | Planted::PushWithoutSyncing => {
            Kinds { power: true, ..Kinds::default() }
        }
        Planted::ErrorsAsAbsence => Kinds { shut: true, ..Kinds::default() },
        Planted::FoldingUnnoticed | Planted::SpellingReplaces => {
            Kinds { folding: true, ..Kinds::default() }
        }
        Planted::StaleDeletesAccepted => Kinds { network: true, ..Kinds::default() },
        Planted::RootOfLostDatabaseEmptied => {
            Kinds { database: true, network: true, ..Kinds::default() }
        }
        Planted::ConfirmedByNobody => Kinds { purge: true, ..Kinds::default() },
        Planted::BundlesInParts => Kinds { bundles: true, ..Kinds::default() },
        Planted::PurgesWhatIsUsed => Kinds { gc: true, past: true, ..Kinds::default() },
        Planted::SteadyReads => Kinds { meddling: true, ..Kinds::default() },
        _ => Kinds { interference: true, ..Kinds::default() },
    }
}
