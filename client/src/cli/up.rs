//! `driftless up`: an embedded server, this device and this folder, in the foreground.

use super::foreground::{self, Ready};
use super::{Context, Outcome, asking};
use crate::daemon::control::Failure;
use crate::daemon::embedded::Embedded;
use crate::daemon::enrolment::{self, Enrolment};
use crate::daemon::traces::Traces;
use crate::home::{Config, HomeLock};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the embedded server listens when nothing is said.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4747);
/// Life of the code that is printed, in milliseconds.
const CODE_LIFE_MS: u64 = 24 * 3_600_000;

/// Flags of `up`.
#[derive(Debug, clap::Args)]
pub(super) struct UpFlags {
    /// Directory to sync; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where the server listens, over UDP [default: 0.0.0.0:4747]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Without the web page of this device
    #[arg(long)]
    no_web: bool,
    /// This device's name [default: the host's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(flags: UpFlags, context: &Context) -> Result<Outcome, Failure> {
    // The web page comes with a later version: until then every start is one without it.
    let UpFlags { directory, listen, no_web: _, name } = flags;
    let directory = asking::absolute(&directory)?;
    let traces = Traces::before(&context.home, &directory);
    context.home.create()?;
    let lock = context.home.lock()?;
    foreground::block_on(async {
        if context.home.is_enrolled() {
            let config = context.home.config()?;
            return again(context, lock, config, &directory, listen).await;
        }
        let listen = listen.unwrap_or(LISTEN);
        check(context, &directory, listen).await.inspect_err(|_| traces.remove())?;
        let embedded = Embedded::start(&context.home, listen).await;
        let embedded = embedded.inspect_err(|_| traces.remove_with_server(&context.home))?;
        let enrolled = first(context, &embedded, directory, name).await;
        let (device, folder) = match enrolled {
            Ok(enrolled) => enrolled,
            Err(failure) => {
                embedded.stop().await;
                traces.remove_with_server(&context.home);
                return Err(failure);
            }
        };
        let ready = Ready::new(device, Some(folder));
        foreground::run(context, lock, Some(embedded), ready, Some(CODE_LIFE_MS)).await
    })
}

/// Looks for what people get wrong in a first start: the directory and the port.
async fn check(context: &Context, directory: &Path, listen: SocketAddr) -> Result<(), Failure> {
    enrolment::free_directory(&context.home, directory).await?;
    Embedded::check(listen)
}

/// Enrols this device as the first of a new user; gives its name and the folder's.
async fn first(
    context: &Context,
    embedded: &Embedded,
    directory: PathBuf,
    name: Option<String>,
) -> Result<(String, String), Failure> {
    let enrolment = Enrolment {
        code: embedded.bootstrap_code().await?,
        directory,
        device: name.unwrap_or_else(super::join::host_name),
        folder: None,
        local: embedded.local(),
        // The port stays, also when any was asked for: other devices know it.
        embedded: Some(embedded.listening()),
    };
    let environment = foreground::environment();
    let enrolled = enrolment::enrol(&context.home, &enrolment, environment.as_ref()).await?;
    Ok((enrolled.device, enrolled.folder))
}

/// A later start with the same directory just runs.
async fn again(
    context: &Context,
    lock: HomeLock,
    config: Config,
    directory: &Path,
    listen: Option<SocketAddr>,
) -> Result<Outcome, Failure> {
    if !config.server.embedded {
        return Err(Failure::new(
            "other_server",
            "this device has joined another server",
            "start it with `driftless run`, or give `up` another --home",
        ));
    }
    let real = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let Some(folder) = config.folders.iter().find(|folder| folder.path == real) else {
        return Err(Failure::new(
            "other_folder",
            format!("this home does not sync {}", directory.display()),
            "start it with `driftless run` and add the directory with `driftless folder add DIR`",
        ));
    };
    let ready = Ready::new(config.device.clone(), Some(folder.name.clone()));
    let embedded = super::run::embedded(context, config, listen).await?;
    foreground::run(context, lock, embedded, ready, None).await
}
