//! `driftless run`: the daemon of an enrolled device, in the foreground.

use super::foreground::{self, Ready};
use super::{Context, Outcome};
use crate::daemon::control::Failure;
use crate::daemon::embedded::Embedded;
use crate::home::Config;
use std::net::SocketAddr;

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct RunFlags {
    /// Without the web page of this device
    #[arg(long)]
    no_web: bool,
}

pub(super) fn run(_flags: &RunFlags, context: &Context) -> Result<Outcome, Failure> {
    // Before the lock, which would make a home of any directory.
    let config = context.home.config()?;
    let lock = context.home.lock()?;
    foreground::block_on(async {
        let ready = Ready::new(config.device.clone(), None);
        let embedded = embedded(context, config, None).await?;
        foreground::run(context, lock, embedded, ready, None).await
    })
}

/// Starts the server that belongs to this home, if one does, and notes where it listens now.
pub(super) async fn embedded(
    context: &Context,
    mut config: Config,
    listen: Option<SocketAddr>,
) -> Result<Option<Embedded>, Failure> {
    if !config.server.embedded {
        return Ok(None);
    }
    let known = config.server.listen.as_deref().map(str::parse::<SocketAddr>);
    let address = match (listen, known) {
        (Some(address), _) | (None, Some(Ok(address))) => address,
        (None, _) => {
            return Err(Failure::new(
                "home_damaged",
                "config.toml does not say where the server listens",
                "give `driftless up DIR` a --listen",
            ));
        }
    };
    let embedded = Embedded::start(&context.home, address).await?;
    let addresses = embedded.advertised().addresses;
    let listens = Some(embedded.listening().to_string());
    if config.server.addresses != addresses || config.server.listen != listens {
        config.server.addresses = addresses;
        config.server.listen = listens;
        context.home.put_config(&config)?;
    }
    Ok(Some(embedded))
}
