//! Reading on: the device log, the secrets that it brings, and the keyring.
//!
//! Owns what a device believes of the server's copies: records that continue its own log, and a
//! keyring that is no older than the one it has seen and that only grows. What the server has
//! forgotten or not yet got is put there again.

use super::ask::{ask, ask_done};
use super::{Account, AccountError};
use crate::context::Environment;
use crate::home::StoredKeyring;
use crate::remote::Remote;
use common::keys::Keyring;
use common::wire::meta::{self, DeviceLogRead, Empty, RefusalCode, Reply, Request};

/// Rounds of compare-and-swap before giving up.
const ROUNDS: u32 = 8;

/// Brings the account up to the server's state. Returns whether anything changed.
///
/// # Errors
/// [`AccountError`]; what was read before the error stays.
pub async fn refresh(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
) -> Result<bool, AccountError> {
    let grown = refresh_log(account, remote, environment).await?;
    account.check_enrolled()?;
    let changed = refresh_keyring(account, remote, environment).await?;
    Ok(grown || changed)
}

/// Reads records after those known here.
pub(super) async fn refresh_log(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
) -> Result<bool, AccountError> {
    let had = account.log.len();
    // The last record that is known here is read again, to see whether the server still has it.
    let mut at = had.saturating_sub(1);
    let replies =
        ask(remote, environment, Request::DeviceLogRead(DeviceLogRead { from: at })).await?;
    for reply in replies {
        take_part(account, reply, &mut at)?;
    }
    if at < had {
        repeat_log(account, remote, environment).await?;
    }
    if account.log.generation() > account.keys.secrets.newest().0
        && account.log.is_enrolled(&account.device())
    {
        let opened = account.log.open_secrets(&account.keys.device.agreement)?;
        for (generation, secret) in opened.iter() {
            account.keys.secrets.add(generation, *secret);
        }
    }
    Ok(account.log.len() > had)
}

/// Takes the records of one frame, which begin at `at`: those that are known have to be the same.
fn take_part(account: &mut Account, reply: Reply, at: &mut u64) -> Result<(), AccountError> {
    let Reply::DeviceLog(part) = reply else {
        return Err(AccountError::Answer("reading the device log"));
    };
    if !part.records.is_empty() && part.from != *at {
        return Err(AccountError::Answer("reading the device log"));
    }
    for record in part.records {
        let known = usize::try_from(*at).ok().and_then(|at| account.records.get(at));
        match known {
            Some(known) if *known == record => {}
            Some(_) => return Err(AccountError::Answer("reading the device log")),
            None => account.take_record(record)?,
        }
        *at += 1;
    }
    Ok(())
}

/// Has the server take the records again that it has forgotten: it was restored from a backup (rule
/// 4). They are signed; what they say is not for it to decide.
async fn repeat_log(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
) -> Result<(), AccountError> {
    for _ in 0..ROUNDS {
        let mut at = 0;
        let request = Request::DeviceLogRead(DeviceLogRead { from: at });
        for reply in ask(remote, environment, request).await? {
            take_part(account, reply, &mut at)?;
        }
        let forgotten = account.records.iter().skip(usize::try_from(at).unwrap_or(usize::MAX));
        let forgotten: Vec<Vec<u8>> = forgotten.cloned().collect();
        if forgotten.is_empty() {
            return Ok(());
        }
        for record in forgotten {
            let request = Request::DeviceLogAppend(meta::DeviceLogAppend { record });
            match ask_done(remote, environment, "repeating the device log", request).await {
                Ok(()) => {}
                // Another device was first: what is left is looked at again.
                Err(AccountError::Remote(error))
                    if error.refusal_code() == Some(RefusalCode::Conflict) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(AccountError::Answer("repeating the device log"))
}

/// Reads the keyring, merges it with the one known here, and puts the merged one when the server's
/// lacks something or is sealed under an old secret.
async fn refresh_keyring(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
) -> Result<bool, AccountError> {
    let seen = account.keyring.version;
    let changed = fetch_keyring(account, remote, environment).await?;
    if account.stored.as_ref().is_some_and(|stored| is_current(account, stored)) {
        return Ok(changed);
    }
    if account.keyring.folders.is_empty() {
        return Ok(changed);
    }
    put_keyring(account, remote, environment, |_| Ok(())).await?;
    Ok(account.keyring.version > seen || changed)
}

/// Whether what the server keeps holds everything, sealed under the newest secret.
fn is_current(account: &Account, stored: &StoredKeyring) -> bool {
    let (log, secrets) = (&account.log, &account.keys.secrets);
    Keyring::open(&stored.sealed, stored.version, log, secrets).is_ok_and(|opened| {
        opened.generation == log.generation()
            && log.is_enrolled(&opened.signer)
            && opened.keyring.covers(&account.keyring)
    })
}

/// Reads the server's keyring and merges it in.
pub(super) async fn fetch_keyring(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
) -> Result<bool, AccountError> {
    let replies = ask(remote, environment, Request::KeyringGet(Empty {})).await?;
    let [Reply::Keyring(found)] = replies.as_slice() else {
        return Err(AccountError::Answer("reading the keyring"));
    };
    let seen = account.keyring.version;
    if found.version < seen {
        return Err(AccountError::KeyringRolledBack { found: found.version, seen });
    }
    let known = account.stored.as_ref();
    if found.version == 0 || known.is_some_and(|known| known.sealed == found.sealed) {
        return Ok(false);
    }
    let (log, secrets) = (&account.log, &account.keys.secrets);
    let opened = Keyring::open(&found.sealed, found.version, log, secrets)?;
    account.keyring.merge(&opened.keyring)?;
    account.stored = Some(StoredKeyring { version: found.version, sealed: found.sealed.clone() });
    Ok(true)
}

/// Puts the keyring with a change, again and again until no other device came first.
pub(super) async fn put_keyring(
    account: &mut Account,
    remote: &dyn Remote,
    environment: &dyn Environment,
    change: impl Fn(&mut Keyring) -> Result<(), AccountError>,
) -> Result<(), AccountError> {
    for _ in 0..ROUNDS {
        let mut next = account.keyring.clone();
        change(&mut next)?;
        next.version += 1;
        let sealed =
            next.seal(&account.log, &account.keys.secrets, &account.keys.device.signing)?;
        let request = meta::Keyring { version: next.version, sealed: sealed.clone() };
        let request = Request::KeyringPut(request);
        match ask_done(remote, environment, "putting the keyring", request).await {
            Ok(()) => {
                account.stored = Some(StoredKeyring { version: next.version, sealed });
                account.keyring = next;
                return Ok(());
            }
            Err(AccountError::Remote(error))
                if error.refusal_code() == Some(RefusalCode::Conflict) =>
            {
                refresh_log(account, remote, environment).await?;
                fetch_keyring(account, remote, environment).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(AccountError::Contended("the keyring"))
}
