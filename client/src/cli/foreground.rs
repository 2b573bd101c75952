//! A daemon in the foreground: the end of `up`, `join` and `run`.
//!
//! Owns the runtime, signals, the `ready` line, log lines and progress until the daemon stops.

use super::join::{hand_over_recovery_key, recovery_key};
use super::output::Output;
use super::progress::Shown;
use super::table::to_the_second;
use super::{Context, Outcome, qr};
use crate::daemon::control::Failure;
use crate::daemon::embedded::Embedded;
use crate::daemon::{Daemon, SystemEnvironment};
use crate::home::HomeLock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use std::future::Future;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Time for detached tasks when the program ends.
const RUNTIME_TIME_MAX: Duration = Duration::from_secs(1);

/// Runs an asynchronous command to its end.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    log();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("driftless")
        .build()
        .map_err(|error| Failure::new("system", format!("no threads: {error}"), ""))?;
    let outcome = runtime.block_on(work);
    // An engine in the midst of a step has had its time.
    runtime.shutdown_timeout(RUNTIME_TIME_MAX);
    outcome
}

/// Each folder holds several files open, and the usual limit is meant for programs that use
/// `select`. What the system does not grant is missed when a file is opened, and told there.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// The environment of this process; to be called within [`block_on`].
pub(super) fn environment() -> Arc<SystemEnvironment> {
    Arc::new(SystemEnvironment::new(tokio::runtime::Handle::current()))
}

/// What is printed when commands are accepted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ready {
    event: &'static str,
    /// The device's name.
    device: String,
    /// The folder that the command was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    /// A code for another device.
    #[serde(skip_serializing_if = "Option::is_none")]
    join_code: Option<String>,
    /// When the code stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// The recovery key of a new user, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<String>,
}

impl Ready {
    pub(super) fn new(device: String, folder: Option<String>) -> Self {
        Self { event: "ready", device, folder, join_code: None, expires: None, recovery_key: None }
    }
}

/// Runs the daemon until a signal.
///
/// `invites`: whether a code for another device is made and printed first.
pub(super) async fn run(
    context: &Context,
    lock: HomeLock,
    embedded: Option<Embedded>,
    mut ready: Ready,
    invites: Option<u64>,
) -> Result<Outcome, Failure> {
    // Before anything is started, so that an early signal stops it as cleanly as a late one.
    let mut signals = Signals::listen()?;
    let daemon = Daemon::start(context.home.clone(), lock, embedded, environment()).await?;
    let told = tokio::select! {
        told = tell(context, &daemon, &mut ready, invites) => Some(told),
        _ = signals.next() => None,
    };
    match told {
        Some(Ok(())) => {}
        Some(Err(failure)) => {
            daemon.stop().await;
            return Err(failure);
        }
        None => {
            daemon.stop().await;
            return Ok(Outcome::Done);
        }
    }
    let mut shown = Shown::new(context.output, true);
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let signal = loop {
        tokio::select! {
            signal = signals.next() => break signal,
            _ = ticks.tick() => shown.update(&daemon.progress()),
        }
    };
    shown.clear();
    tracing::info!(signal, "stopping");
    tokio::select! {
        () = daemon.stop() => Ok(Outcome::Done),
        // What was acknowledged is on the disk whatever happens.
        _ = signals.next() => Err(Failure::new(
            "interrupted",
            "stopped by a second signal before everything was closed",
            "nothing acknowledged is lost",
        )),
    }
}

/// Says that commands are accepted, and what a person has to keep.
async fn tell(
    context: &Context,
    daemon: &Daemon,
    ready: &mut Ready,
    invites: Option<u64>,
) -> Result<(), Failure> {
    if let Some(life_ms) = invites {
        let invitation = daemon.invite(None, life_ms).await?;
        ready.join_code = Some(invitation.code);
        ready.expires = Some(invitation.expires);
    }
    ready.recovery_key = recovery_key(context)?;
    let is_written = print_ready(context.output, ready)?;
    if ready.recovery_key.is_some() {
        hand_over_recovery_key(context, is_written)?;
    }
    Ok(())
}

/// Prints that commands are accepted; says whether the recovery key was written out, if there is one.
fn print_ready(output: Output, ready: &Ready) -> Result<bool, Failure> {
    if output.is_json() {
        return output.object(ready);
    }
    let folder = ready.folder.as_ref().map(|folder| format!(": {folder}")).unwrap_or_default();
    output.line(&format!("ready{folder}"))?;
    if let Some(code) = &ready.join_code {
        if output.is_terminal()
            && let Some(picture) = qr::draw(code)
        {
            output.line(&picture)?;
        }
        output.line(&format!("join code: {code}"))?;
        let until = ready.expires.as_deref().map(to_the_second);
        let until = until.unwrap_or_else(|| "it is used".to_owned());
        output.remark(&format!("It works once, until {until}. On the other device:"));
        output.remark("  driftless join CODE DIR");
    }
    match &ready.recovery_key {
        Some(key) => output.line(&format!("recovery key: {key}")),
        None => Ok(true),
    }
}

/// The two signals that ask a program to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new("system", format!("no signal handler: {error}"), ""))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Log lines go to standard error; `DRIFTLESS_LOG` chooses which (`info`, `client=debug`, …).
fn log() {
    let filter =
        EnvFilter::try_from_env("DRIFTLESS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    if started.is_err() {
        // Somebody who embeds this has set up logging already.
        tracing::debug!("log lines go where they went before");
    }
}
