//! What an operator does with a running server, with the real programs: garbage collection, checks,
//! backups and putting them back (N3, N4, M9).

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use tests::harness::{Device, Finished, Programs, Random, Server, Tree, eventually};

/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;

fn write(device: &Device, name: &str, seed: u64, bytes: usize) -> Result<()> {
    let mut random = Random::new(seed);
    let content: Vec<u8> = (0..bytes / 8).flat_map(|_| random.bits().to_le_bytes()).collect();
    Ok(fs::write(device.root().join(name), content)?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no UTF-8")
}

fn report(finished: Finished, what: &str) -> Result<Value> {
    finished.success(what)?.json()
}

fn error_kind(finished: &Finished) -> Result<String> {
    ensure!(finished.code == Some(1), "{finished:?}");
    let error = finished.json()?["error"].clone();
    ensure!(!error["message"].as_str().unwrap_or_default().is_empty(), "{finished:?}");
    ensure!(!error["hint"].as_str().unwrap_or_default().is_empty(), "{finished:?}");
    Ok(error["kind"].as_str().context("an error without kind")?.to_owned())
}

fn same(one: &Device, other: &Device) -> Result<()> {
    let differences = Tree::read(one.root())?.differences(&Tree::read(other.root())?);
    ensure!(differences.is_empty(), "{differences:?}");
    Ok(())
}

#[test]
fn n3_garbage_collection_takes_nothing_that_a_version_needs() {
    collected().unwrap_or_else(|error| panic!("{error:?}"));
}

fn collected() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    for number in 0..20 {
        write(&first, &format!("file {number}"), number, 1_000_000 / 20 * (number as usize + 1))?;
    }
    first.sync(SYNC_SECONDS)?;
    // Older versions and deleted files are history, and no garbage.
    write(&first, "file 19", 119, 700_000)?;
    fs::remove_file(first.root().join("file 18"))?;
    first.sync(SYNC_SECONDS)?;
    let before = server.status()?["storage"]["chunks"].clone();
    let preview = report(server.ask(&["gc", "--dry-run"])?, "gc --dry-run")?;
    ensure!(preview["dry_run"] == true && preview["purged"]["chunks"] == 0, "{preview}");
    for run in 1..=3 {
        let done = report(server.ask(&["gc", "--now", "--grace", "0s"])?, "gc --now")?;
        ensure!(done["purged"]["chunks"] == 0 && done["problems"] == serde_json::json!([]));
        ensure!(done["generation"] == preview["generation"].as_u64().context("none")? + run - 1);
    }
    ensure!(server.status()?["storage"]["chunks"] == before);
    let old = first.versions("file 19")?;
    ensure!(old.len() == 2 && first.cat("file 19", old[1].revision)?.len() == 1_000_000);
    ensure!(first.cat("file 18", first.versions("file 18")?[1].revision)?.len() == 950_000);
    // What is written after it finds its way, and a new device everything.
    write(&first, "later", 200, 300_000)?;
    first.sync(SYNC_SECONDS)?;
    let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
    second.sync(SYNC_SECONDS)?;
    same(&first, &second)?;
    ensure!(server.ask(&["gc"])?.code == Some(2), "which of the two is meant is to be said");
    Ok(())
}

#[test]
fn n4_what_retention_lets_go_is_reclaimed_and_nothing_else() {
    reclaimed().unwrap_or_else(|error| panic!("{error:?}"));
}

fn reclaimed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let mut server = Server::start(&programs, directory.path())?;
    let device = Device::join(&programs, directory.path(), "one", &server.invite()?)?;
    write(&device, "kept", 1, 300_000)?;
    write(&device, "edited", 2, 400_000)?;
    device.sync(SYNC_SECONDS)?;
    report(device.ask(&["label", "add", "the first"])?, "label add")?;
    write(&device, "edited", 3, OF_A_SEGMENT)?;
    device.sync(SYNC_SECONDS)?;
    write(&device, "edited", 4, 500_000)?;
    device.sync(SYNC_SECONDS)?;
    let versions = device.versions("edited")?;
    let [newest, released, labelled] = versions.as_slice() else { anyhow::bail!("{versions:?}") };
    let before = [device.cat("edited", newest.revision)?, device.cat("edited", labelled.revision)?];
    ensure!(before.each_ref().map(Vec::len) == [500_000, 400_000], "other versions");
    let nothing = ["--keep-all", "none", "--daily", "none", "--monthly", "none"];
    let set = [&["retention", "set"][..], &nothing].concat();
    report(device.ask(&set)?, "retention set")?;
    // New settings wait, whatever grace a person gives.
    let early = report(server.ask(&["gc", "--now", "--grace", "0s"])?, "gc, too early")?;
    ensure!(early["thinned"] == 0 && early["purged"]["chunks"] == 0, "{early}");

    ensure!(thinned_at_once(&mut server)? == 1, "not the one version that nothing keeps");
    let full = report(server.ask(&["check"])?, "check of what was thinned")?;
    let stored = disk_bytes(&server.data().join("chunks/segments"))?;
    let mut freed = 0;
    // What a run condemns may be part of an upload until the next but one.
    for _ in 0..3 {
        let done = report(server.ask(&["gc", "--now", "--grace", "0s"])?, "gc")?;
        ensure!(done["problems"] == serde_json::json!([]), "{done}");
        freed += done["freed_bytes"].as_u64().context("no freed bytes")?;
    }
    let left = disk_bytes(&server.data().join("chunks/segments"))?;
    // All but what shares the newest segment file.
    let most = OF_A_SEGMENT as u64 / 4 * 3;
    ensure!(freed > most, "only {freed} bytes were freed");
    ensure!(stored - left > most, "of {stored} bytes {left} are left on the disk");
    let whole = report(server.ask(&["check"])?, "check of what is left")?;
    ensure!(full["ok"] == true && whole["ok"] == true, "{full}, and after it {whole}");
    ensure!(whole["verified"]["bytes"].as_u64().is_some_and(|bytes| bytes < 2_000_000), "{whole}");

    device.sync(SYNC_SECONDS)?;
    let after = [device.cat("edited", newest.revision)?, device.cat("edited", labelled.revision)?];
    ensure!(after == before, "a version that stays is another one");
    ensure!(device.cat("kept", device.versions("kept")?[0].revision)?.len() == 300_000);
    ensure!(device.cat("edited", released.revision).is_err(), "it was to be gone");
    let second = Device::join(&programs, directory.path(), "second", &device.invite()?)?;
    second.sync(SYNC_SECONDS)?;
    same(&device, &second)
}

/// More than a segment file, which only goes once it is not the newest.
const OF_A_SEGMENT: usize = 280 << 20;

/// Thins as a server does, for which the time that new settings wait has passed: no command and no
/// setting shortens that. Gives how many versions went.
fn thinned_at_once(server: &mut Server) -> Result<u64> {
    server.stop()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let thinned = runtime.block_on(async {
        let config = server::assemble::ServerConfig::new(server.data(), "127.0.0.1:0".parse()?);
        let here = server::assemble::Server::start(config).await?;
        let thinned = here.service().thin_all_after(0).await;
        here.shutdown().await;
        thinned.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    })?;
    ensure!(thinned.failed.is_empty(), "{:?}", thinned.failed);
    server.run()?;
    Ok(thinned.versions)
}

/// Bytes of the files in a directory.
fn disk_bytes(directory: &Path) -> Result<u64> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

#[test]
fn a_check_finds_what_rotted_of_a_running_server_and_of_a_stopped_one() {
    checked().unwrap_or_else(|error| panic!("{error:?}"));
}

fn checked() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let mut server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    write(&first, "a file", 1, 900_000)?;
    first.sync(SYNC_SECONDS)?;
    let whole = report(server.ask(&["check"])?, "check")?;
    ensure!(whole["ok"] == true && whole["folders"] == 1, "{whole}");
    ensure!(whole["verified"]["bytes"].as_u64().context("none")? > 900_000, "{whole}");
    server.stop()?;
    let stopped = report(server.ask(&["check"])?, "check of a stopped server")?;
    ensure!(stopped == whole, "{stopped}, and before {whole}");

    let segment = largest(&server.data().join("chunks/segments"))?;
    let mut bytes = fs::read(&segment)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes)?;
    let found = server.ask(&["check"])?;
    ensure!(found.code == Some(1), "{found:?}");
    let found = found.json()?;
    ensure!(found["ok"] == false, "{found}");
    let problems = found["problems"].as_array().context("no problems")?;
    let [problem] = problems.as_slice() else { anyhow::bail!("not one problem: {found}") };
    ensure!(problem["folder"].as_str().is_some_and(|folder| folder.len() == 64), "{problem}");
    ensure!(problem["object"].as_str().is_some_and(|object| object.len() == 64), "{problem}");
    ensure!(problem["problem"].as_str().is_some_and(|what| what.contains("damaged")), "{problem}");
    server.run()?;
    ensure!(server.ask(&["check"])?.code == Some(1), "it is found while it runs, too");
    Ok(())
}

fn largest(segments: &Path) -> Result<PathBuf> {
    let paths = fs::read_dir(segments)?.map(|entry| Ok(entry?.path()));
    let paths: Vec<PathBuf> = paths.collect::<Result<_>>()?;
    let length = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    paths.into_iter().max_by_key(length).context("no segment")
}

#[test]
fn m9_a_restored_backup_deletes_nothing_and_gets_back_what_it_forgot() {
    restored().unwrap_or_else(|error| panic!("{error:?}"));
}

fn restored() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let mut server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    write(&first, "old", 1, 600_000)?;
    write(&first, "edited", 2, 300_000)?;
    first.sync(SYNC_SECONDS)?;
    let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
    second.sync(SYNC_SECONDS)?;
    // No checkpoint knows of these, and the backup does.
    for seed in [6, 7] {
        write(&first, "later", seed, 250_000)?;
        first.sync(SYNC_SECONDS)?;
        second.sync(SYNC_SECONDS)?;
    }
    let backup = directory.path().join("backup");
    let made = report(server.ask(&["backup", text(&backup)?])?, "backup")?;
    ensure!(made["copied"]["chunks"].as_u64().context("none")? > 10, "{made}");
    write(&first, "between", 3, 200_000)?;
    first.sync(SYNC_SECONDS)?;
    // Made again, it holds what is new; nothing else is copied.
    let again = report(server.ask(&["backup", text(&backup)?])?, "backup again")?;
    ensure!(again["kept"]["chunks"] == made["copied"]["chunks"], "{again}, and before {made}");
    ensure!(again["copied"]["bytes"].as_u64().context("none")? < 300_000, "{again}");

    // None of this is in the backup.
    write(&first, "new", 4, 400_000)?;
    write(&first, "edited", 5, 350_000)?;
    write(&first, "later", 8, 250_000)?;
    fs::remove_file(second.root().join("old"))?;
    second.sync(SYNC_SECONDS)?;
    first.sync(SYNC_SECONDS)?;
    second.sync(SYNC_SECONDS)?;
    same(&first, &second)?;
    let before = Tree::read(first.root())?;
    let invitation = first.invite()?;

    server.kill()?;
    let address = server.address().to_owned();
    refusals(&programs, &server, &backup, directory.path())?;
    let home = directory.path().join("restored");
    let data = home.join("server");
    let back = admin(&programs, directory.path(), &["restore", text(&backup)?], &data)?;
    let back = report(back, "restore")?;
    told_what_is_lost(&programs, &backup, directory.path())?;
    ensure!(back["folders"] == 1 && back["problems"] == serde_json::json!([]), "{back}");
    let server = Server::start_at(&programs, &home, &address)?;
    ensure!(report(server.ask(&["check"])?, "check after the restore")?["ok"] == true);

    for device in [&first, &second] {
        eventually("the folder halts for the restored server", || {
            Ok((device.status()?["state"] == "halted").then_some(()))
        })?;
    }
    ensure!(before == Tree::read(first.root())?, "nothing was deleted");
    agreed(&first, &second)?;
    same(&first, &second)?;
    let after = Tree::read(first.root())?;
    let lost = before.differences(&after);
    // A deletion that the server has forgotten may come undone; nothing else changes.
    ensure!(lost.iter().all(|line| line.starts_with("old: only on the second")), "{lost:?}");
    ensure!(report(server.ask(&["check"])?, "check at the end")?["ok"] == true);
    // Invitations of before are void; a new one works, and brings everything.
    let voided = Device::join(&programs, directory.path(), "voided", &invitation);
    ensure!(voided.is_err(), "an invitation of before the restore still worked");
    let third = Device::join(&programs, directory.path(), "third", &first.invite()?)?;
    third.sync(SYNC_SECONDS)?;
    same(&first, &third)?;
    // Retention waits until a person could say again what is to be kept, and says so.
    let gc = report(server.ask(&["gc", "--now"])?, "gc after the restore")?;
    ensure!(gc["held"] == 1, "{gc}");
    let shown = report(first.ask(&["retention", "show"])?, "retention show")?;
    ensure!(shown["until"]["retention"]["keep_all"] == "forever", "{shown}");
    Ok(())
}

#[test]
fn a_backup_in_the_servers_own_data_is_refused() {
    beside_the_data().unwrap_or_else(|error| panic!("{error:?}"));
}

fn beside_the_data() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(server.data(), &link)?;
    let data = server.data();
    for to in [data.to_owned(), data.join("backup"), link.join("chunks/new"), link] {
        let refused = server.ask(&["backup", text(&to)?])?;
        let error = refused.json()?["error"].clone();
        ensure!(refused.code == Some(1) && error["kind"] == "backup", "{to:?}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(message.contains("lies in the server's own data directory"), "{to:?}: {error}");
    }
    for made in ["backup", "backup.json", "incomplete", "chunks/new"] {
        ensure!(!data.join(made).exists(), "{made} was made");
    }
    report(server.ask(&["backup", text(&directory.path().join("elsewhere"))?])?, "backup")?;
    on_another_disk(server, directory.path())
}

/// The chunks may have been moved away, with a link in their place.
fn on_another_disk(mut server: Server, directory: &Path) -> Result<()> {
    server.stop()?;
    let (chunks, big) = (server.data().join("chunks"), directory.join("big"));
    fs::rename(&chunks, &big)?;
    std::os::unix::fs::symlink(&big, &chunks)?;
    server.run()?;
    for to in [big.clone(), big.join("backup")] {
        let refused = server.ask(&["backup", text(&to)?])?;
        ensure!(error_kind(&refused)? == "backup", "{to:?}: {refused:?}");
        let message = refused.json()?["error"]["message"].to_string();
        ensure!(message.contains("lies in the server's own data directory"), "{message}");
    }
    ensure!(!big.join("backup").exists() && !big.join("backup.json").exists(), "it was made");
    Ok(())
}

#[test]
fn a_server_that_goes_away_during_a_backup_is_not_taken_for_another_version() {
    gone_meanwhile().unwrap_or_else(|error| panic!("{error:?}"));
}

fn gone_meanwhile() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let data = directory.path().join("data");
    fs::create_dir(&data)?;
    let listener = UnixListener::bind(data.join("control.sock"))?;
    // Nothing of an answer, or the beginning of one.
    let begun: [&[u8]; 2] = [b"", b"{\"backup\":{\"path\""];
    let going = std::thread::spawn(move || -> std::io::Result<()> {
        for answer in begun {
            let (mut stream, _) = listener.accept()?;
            BufReader::new(&stream).read_line(&mut String::new())?;
            stream.write_all(answer)?;
        }
        Ok(())
    });
    let to = directory.path().join("backup");
    for _ in begun {
        let lost = admin(&programs, directory.path(), &["backup", text(&to)?], &data)?;
        let error = lost.json()?["error"].clone();
        ensure!(lost.code == Some(1) && error["kind"] == "server_gone", "{error}");
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(message.contains("is not complete"), "{error}");
        let hint = error["hint"].as_str().unwrap_or_default();
        // It may be stuck, with which a second one would not help.
        for says in ["driftless-server status --data", "if it does not, start it", "again"] {
            ensure!(hint.contains(says), "not told {says}: {error}");
        }
    }
    going.join().map_err(|_| anyhow::anyhow!("the server that goes away"))??;
    Ok(())
}

/// A person agrees to a restored server on one device, and both come to the same.
fn agreed(first: &Device, second: &Device) -> Result<()> {
    // A connection of before the restore may be found dead only by this.
    eventually("a person agrees", || {
        let confirmed = first.ask(&["confirm"])?;
        let is_lost = confirmed.code == Some(1) && error_kind(&confirmed)? == "offline";
        if is_lost { Ok(None) } else { confirmed.success("confirm").map(Some) }
    })?;
    first.sync(SYNC_SECONDS)?;
    eventually("the other follows it", || {
        Ok((second.status()?["state"] != "halted").then_some(()))
    })?;
    second.sync(SYNC_SECONDS)?;
    first.sync(SYNC_SECONDS)
}

/// Runs a command of `driftless-server` on a data directory.
fn admin(programs: &Programs, logs: &Path, arguments: &[&str], data: &Path) -> Result<Finished> {
    let mut command = std::process::Command::new(programs.server());
    command.args(arguments).arg("--json").arg("--data").arg(data);
    tests::harness::Running::start("admin", &mut command, &logs.join("admin.log"))?.wait()
}

/// Labels and settings are not sent again by devices: who restores is told.
fn told_what_is_lost(programs: &Programs, backup: &Path, home: &Path) -> Result<()> {
    let mut command = std::process::Command::new(programs.server());
    command.arg("restore").arg(backup).arg("--data").arg(home.join("restored to look"));
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    let time =
        printed.lines().next().and_then(|line| line.rsplit(' ').next()).context("no time")?;
    ensure!(output.status.success() && time.ends_with('Z'), "{printed}");
    let lost = format!("Labels, retention and merge settings that were set after {time} are lost");
    ensure!(said.contains(&lost) && said.contains("driftless retention show"), "{said}");
    Ok(())
}

/// What is not restored, and where it is not restored to.
fn refusals(programs: &Programs, server: &Server, backup: &Path, home: &Path) -> Result<()> {
    let restore = |from: &Path, to: &Path| admin(programs, home, &["restore", text(from)?], to);
    ensure!(error_kind(&restore(backup, server.data())?)? == "not_empty");
    ensure!(error_kind(&restore(backup, &backup.join("server"))?)? == "in_backup");
    for (from, data) in [(".", "server"), (".", "a/b"), ("../backup", "server"), (".", "./server")]
    {
        let mut command = std::process::Command::new(programs.server());
        command.args(["--json", "restore", from, "--data", data]).current_dir(backup);
        let mut running =
            tests::harness::Running::start("admin", &mut command, &home.join("admin.log"))?;
        ensure!(error_kind(&running.wait()?)? == "in_backup", "{from} to {data}");
        ensure!(!backup.join("server").exists() && !backup.join("a").exists(), "{data} was made");
    }
    let half = home.join("half");
    fs::create_dir(&half)?;
    fs::write(half.join("incomplete"), b"")?;
    ensure!(error_kind(&restore(&half, &home.join("nowhere"))?)? == "backup");
    ensure!(!home.join("nowhere").exists());
    // A restore that was cut off is no server's.
    let cut = home.join("cut");
    fs::create_dir(&cut)?;
    fs::write(cut.join("restoring"), b"")?;
    let served = admin(programs, home, &["serve", "--listen", "127.0.0.1:0"], &cut)?;
    ensure!(error_kind(&served)? == "data");
    Ok(())
}
