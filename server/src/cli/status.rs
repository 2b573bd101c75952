//! `driftless-server status`: how the running server does.

use super::{CommandFailure, asked, print_json, print_line};
use crate::control::{Reply, Request};
use std::path::PathBuf;

/// Flags of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct StatusFlags {
    /// Data directory of the running server
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(super) fn run(flags: &StatusFlags, json: bool) -> Result<(), CommandFailure> {
    let status = asked(&flags.data, &Request::Status, |reply| match reply {
        Reply::Status(found) => Some(found),
        _ => None,
    })?;
    if json {
        return print_json(&status);
    }
    let storage = &status.storage;
    print_line(&format!("cluster   {}", status.cluster))?;
    print_line(&format!("address   {}", status.address))?;
    print_line(&format!("metadata  {}", status.metadata.state))?;
    print_line(&format!(
        "storage   {}: {} chunks, {} bytes; {} bytes free",
        storage.state, storage.chunks, storage.bytes, storage.free_bytes
    ))
}
