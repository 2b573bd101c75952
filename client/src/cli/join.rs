//! `driftless join`: enrols this device with a code and runs.

use super::foreground::{self, Ready};
use super::{Context, Outcome, asking};
use crate::daemon::control::Failure;
use crate::daemon::enrolment::{self, Enrolled, Enrolment};
use crate::daemon::traces::Traces;
use crate::home::PendingKind;
use crate::remote::Server;
use common::keys::RecoveryKey;
use common::trust::{JoinCode, JoinCodeError};
use serde::Serialize;
use std::io::Read;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Longest text of a code that is read from standard input, in bytes.
const CODE_BYTES_MAX: u64 = 16 * 1024;

/// Flags of `join`.
#[derive(Debug, clap::Args)]
pub(super) struct JoinFlags {
    /// The join code, or - to read it from standard input
    #[arg(value_name = "CODE")]
    code: String,
    /// Directory to sync into; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Only enrol; `driftless run` starts syncing
    #[arg(long)]
    no_run: bool,
    /// This device's name [default: the host's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// What `join --no-run` prints.
#[derive(Debug, Serialize)]
struct Joined {
    device: String,
    folder: String,
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<String>,
}

pub(super) fn run(flags: JoinFlags, context: &Context) -> Result<Outcome, Failure> {
    let JoinFlags { code, directory, no_run, name } = flags;
    let code = read_code(code)?;
    let directory = asking::absolute(&directory)?;
    check_free(context)?;
    let traces = Traces::before(&context.home, &directory);
    context.home.create()?;
    let lock = context.home.lock()?;
    // Again under the lock: another process may have enrolled it meanwhile.
    check_free(context)?;
    foreground::block_on(async {
        let enrolment = Enrolment {
            local: Server { addresses: code.addresses.clone(), cluster: code.cluster },
            code,
            directory,
            device: name.unwrap_or_else(host_name),
            folder: None,
            embedded: None,
        };
        let environment = foreground::environment();
        let enrolled = enrolment::enrol(&context.home, &enrolment, environment.as_ref()).await;
        let enrolled = enrolled.inspect_err(|_| traces.remove())?;
        if no_run {
            return joined(context, enrolled);
        }
        let ready = Ready::new(enrolled.device, Some(enrolled.folder));
        foreground::run(context, lock, None, ready, None).await
    })
}

/// A home holds one device.
fn check_free(context: &Context) -> Result<(), Failure> {
    if !context.home.is_enrolled() {
        return Ok(());
    }
    Err(Failure::new(
        "already_enrolled",
        "this home holds a device already",
        "start it with `driftless run` and sync more folders with `driftless folder link`; or join \
         with another --home",
    ))
}

/// Tells of an enrolment after which nothing runs.
fn joined(context: &Context, enrolled: Enrolled) -> Result<Outcome, Failure> {
    let Enrolled { device, folder, path, .. } = enrolled;
    let joined = Joined { device, folder, path, recovery_key: recovery_key(context)? };
    let is_written = context.output.tell(&joined, || {
        let key = joined.recovery_key.as_ref().map(|key| format!("recovery key: {key}\n"));
        let key = key.unwrap_or_default();
        format!("{key}joined as {}; start syncing with `driftless run`", joined.device)
    })?;
    if joined.recovery_key.is_some() {
        hand_over_recovery_key(context, is_written)?;
    }
    Ok(Outcome::Done)
}

fn read_code(argument: String) -> Result<JoinCode, Failure> {
    let argument = Zeroizing::new(argument);
    if argument.as_str() != "-" {
        return parse(&argument);
    }
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().take(CODE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::new("bad_code", format!("standard input: {error}"), ""))?;
    parse(&text)
}

fn parse(text: &str) -> Result<JoinCode, Failure> {
    text.parse().map_err(|error: JoinCodeError| error.into())
}

/// The recovery key of a new user, if nobody has seen it yet.
pub(super) fn recovery_key(context: &Context) -> Result<Option<String>, Failure> {
    Ok(context.home.pending()?.and_then(|pending| match pending.kind {
        PendingKind::Bootstrap { recovery } => {
            Some(RecoveryKey::from_seed(recovery).print().to_string())
        }
        PendingKind::Device { .. } => None,
    }))
}

/// Forgets the recovery key once it was written out: from then on it is the person's to keep.
pub(super) fn hand_over_recovery_key(context: &Context, is_written: bool) -> Result<(), Failure> {
    if !is_written {
        context.output.remark(UNREAD_REMARK);
        return Ok(());
    }
    context.output.remark(RECOVERY_REMARK);
    context.home.clear_pending()?;
    Ok(())
}

/// What a person has to know about a recovery key that went nowhere.
const UNREAD_REMARK: &str = "Nobody read the recovery key. It is shown by the next \
     `driftless run` or `driftless up`.";
/// What a person has to know about a recovery key.
const RECOVERY_REMARK: &str = "Write the recovery key down and keep it safe: your keys \
     are sealed to it, for the day on which all devices are lost. It is not shown again.";

/// This machine's name, for a device that is given none.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.chars().filter(|character| !character.is_control()).collect();
    let short = name.split('.').next().unwrap_or_default();
    let mut short = short.to_owned();
    while short.len() > common::limits::LABEL_BYTES_MAX {
        short.pop();
    }
    if short.is_empty() { "device".to_owned() } else { short }
}
