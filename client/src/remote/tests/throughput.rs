//! How fast chunks cross a listener and an in-memory store: printed, and run by hand in release
//! mode with `DRIFTLESS_MEASURE_MIB=256`; a small amount otherwise, as a test that it works.

use super::{Bed, ids, some_chunks};
use crate::remote::Remote;
use futures_util::StreamExt;
use std::time::Instant;

/// Chunks in one call of put or get: about what the caller bounds a call to.
const CHUNKS_A_CALL: usize = 64;
/// Calls at once.
const CALLS_AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn put_and_get_keep_the_link_busy() {
    let mib = std::env::var("DRIFTLESS_MEASURE_MIB").map_or(8, |text| text.parse().unwrap());
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let chunks = some_chunks(mib * 16, 64 * 1024);

    let begun = Instant::now();
    let puts = chunks.chunks(CHUNKS_A_CALL).map(|part| member.remote.put(folder, part.to_vec()));
    let stored = futures_util::stream::iter(puts).buffer_unordered(CALLS_AT_ONCE);
    stored.for_each(async |receipts| assert!(!receipts.unwrap().is_empty())).await;
    report("put", mib, begun);

    let begun = Instant::now();
    let gets = chunks.chunks(CHUNKS_A_CALL).map(|part| member.remote.get(folder, ids(part)));
    let found = futures_util::stream::iter(gets).buffer_unordered(CALLS_AT_ONCE);
    found.for_each(async |chunks| assert!(chunks.unwrap().iter().all(Option::is_some))).await;
    report("get", mib, begun);
}

fn report(what: &str, mib: usize, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what}: {mib} MiB in {seconds:.2} s, {:.0} MiB/s", mib as f64 / seconds);
}
