//! `driftless-server serve`: the server in the foreground, until SIGINT or SIGTERM.

use super::{CommandFailure, print_json, print_line};
use crate::assemble::{Server, ServerConfig, ServerError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct ServeFlags {
    /// Data directory; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen, over UDP
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:4747")]
    listen: SocketAddr,
    /// Address that join codes name, HOST or HOST:PORT; may be repeated. Default: what is listened on
    #[arg(long, value_name = "ADDR")]
    advertise: Vec<String>,
}

pub(super) fn run(flags: ServeFlags, json: bool) -> Result<(), CommandFailure> {
    log();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("driftless-server")
        .build()
        .map_err(|error| CommandFailure::new("system", &format!("no threads: {error}"), ""))?;
    runtime.block_on(serve(flags, json))
}

/// Readers, segments and connections of the control socket are files, and the usual limit is meant
/// for programs that use `select`. What the system does not grant is missed when a file is opened,
/// and told there.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

async fn serve(flags: ServeFlags, json: bool) -> Result<(), CommandFailure> {
    // Before the server starts, so that an early signal stops it as cleanly as a late one.
    let mut signals = Signals::listen()?;
    let mut config = ServerConfig::new(flags.data, flags.listen);
    config.advertise = flags.advertise;
    let server = Server::start(config).await.map_err(|error| failure(&error))?;
    print_ready(&server, json)?;
    let signal = signals.next().await;
    tracing::info!(signal, "stopping");
    tokio::select! {
        () = server.shutdown() => Ok(()),
        // What was acknowledged is on the disk whatever happens.
        _ = signals.next() => Err(CommandFailure::new(
            "interrupted",
            "stopped by a second signal before everything was closed",
            "nothing acknowledged is lost",
        )),
    }
}

fn print_ready(server: &Server, json: bool) -> Result<(), CommandFailure> {
    let address = server.local_addr().to_string();
    let data = server.data().display().to_string();
    if json {
        return print_json(&json!({
            "event": "ready",
            "address": address,
            "addresses": server.addresses(),
            "cluster": server.cluster().to_string(),
            "data": data,
        }));
    }
    print_line(&format!("ready: listening on {address}"))?;
    print_line(&format!("invite a first device with: driftless-server invite --data {data}"))
}

fn failure(error: &ServerError) -> CommandFailure {
    CommandFailure::new(error.kind(), &error.explain(), &error.hint())
}

/// The two signals that ask a program to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, CommandFailure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                CommandFailure::new("system", &format!("no signal handler: {error}"), "")
            })
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

/// Log lines go to standard error; `DRIFTLESS_LOG` chooses which (`info`, `server=debug`, …).
fn log() {
    let filter =
        EnvFilter::try_from_env("DRIFTLESS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
