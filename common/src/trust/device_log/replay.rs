//! The rules by which a record is accepted after those before it.
//!
//! Owns every rule; a record that breaks one leaves the log as it was. It must not read a clock:
//! expiry is judged by the record's own time, and a server judges by its own clock besides.

use super::record::{Generation, Genesis, ListedDevice, Record, What};
use super::{DeviceLog, DeviceRecord, Invitation, InvitationState, LogEvent};
use crate::ids::{DeviceId, Head, LookupId, UserId};
use crate::limits::{
    DEVICES_MAX, INVITATION_LIFE_MS_MAX, INVITATIONS_OPEN_MAX, LOG_BYTES_MAX, LOG_RECORD_BYTES_MAX,
    LOG_RECORDS_FOR_REVOCATIONS, LOG_RECORDS_MAX,
};
use crate::trust::JoinKind;
use crate::trust::error::{TrustError, at_most};
use crate::trust::signed::{Label, Unverified};
use std::collections::BTreeMap;

const USER_CONTEXT: &str = "driftless 2026 user id v1";
const HEAD_CONTEXT: &str = "driftless 2026 device log head v1";

impl DeviceLog {
    /// Begins a log with its genesis record.
    ///
    /// # Errors
    /// [`TrustError`] when it is no genesis, or not signed by the device that it lists.
    pub fn genesis(record: &[u8]) -> Result<Self, TrustError> {
        let document = Unverified::parse(Label::DeviceLog, record, LOG_RECORD_BYTES_MAX)?;
        let decoded = Record::decode(document.body)?;
        let What::Genesis(genesis) = decoded.what else {
            return Err(TrustError::GenesisExpected);
        };
        if decoded.prev != Head::ZERO {
            return Err(TrustError::WrongHead);
        }
        if decoded.index != 0 {
            return Err(TrustError::WrongIndex { expected: 0, actual: decoded.index });
        }
        check_first_secret(&genesis)?;
        document.verify(&[genesis.device.id.as_bytes()])?;
        let device = listed(genesis.device, 0, decoded.time_ms);
        Ok(Self {
            user: UserId::from_bytes(blake3::derive_key(USER_CONTEXT, record)),
            heads: vec![head_of(record)],
            bytes: record.len() as u64,
            devices: BTreeMap::from([(device.id, device)]),
            invitations: BTreeMap::new(),
            recovery: genesis.recovery,
            generation: genesis.secret.number,
            boxes: genesis.secret.boxes,
            previous: BTreeMap::new(),
        })
    }

    /// Replays a whole log, genesis first.
    ///
    /// # Errors
    /// [`TrustError`] of the first record that is not accepted.
    pub fn replay<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TrustError> {
        let mut records = records.into_iter();
        let mut log = Self::genesis(records.next().ok_or(TrustError::GenesisExpected)?)?;
        for record in records {
            log.append(record)?;
        }
        Ok(log)
    }

    /// Accepts the next record. After an error the log is as it was.
    ///
    /// # Errors
    /// [`TrustError`] says which rule the record breaks; [`TrustError::WrongHead`] also when it was
    /// made for an earlier head of this log and has to be made anew.
    pub fn append(&mut self, record: &[u8]) -> Result<LogEvent, TrustError> {
        let document = Unverified::parse(Label::DeviceLog, record, LOG_RECORD_BYTES_MAX)?;
        let decoded = Record::decode(document.body)?;
        if matches!(decoded.what, What::Genesis(_)) {
            return Err(TrustError::GenesisRepeated);
        }
        if decoded.prev != self.head() {
            return Err(TrustError::WrongHead);
        }
        if decoded.index != self.len() {
            return Err(TrustError::WrongIndex { expected: self.len(), actual: decoded.index });
        }
        let bytes = self.bytes.saturating_add(record.len() as u64);
        self.check_room(&decoded.what, bytes)?;
        let event = self.accept(&document, decoded)?;
        self.heads.push(head_of(record));
        self.bytes = bytes;
        Ok(event)
    }

    /// Whether the log has room for one more record, which makes it `bytes` long. Room for as many
    /// revocations as there can be is left by all else.
    fn check_room(&self, what: &What, bytes: u64) -> Result<(), TrustError> {
        let records = self.heads.len() + 1;
        if matches!(what, What::DeviceRevoked { .. }) {
            return at_most("device log records", records, LOG_RECORDS_MAX);
        }
        if records > LOG_RECORDS_MAX - LOG_RECORDS_FOR_REVOCATIONS || bytes > LOG_BYTES_MAX {
            return Err(TrustError::LogFull);
        }
        Ok(())
    }

    /// Checks and applies what a record says. Each branch checks everything before it changes
    /// anything.
    fn accept(
        &mut self,
        document: &Unverified<'_>,
        record: Record,
    ) -> Result<LogEvent, TrustError> {
        let time_ms = record.time_ms;
        match record.what {
            What::Genesis(_) => Err(TrustError::GenesisRepeated),
            What::InvitationOpened { signer, lookup, key, kind, expires_ms } => {
                self.check_signer(document, &signer)?;
                let state = InvitationState::Open;
                let opened = Invitation { key, kind, expires_ms, opened_by: signer, state };
                self.open_invitation(lookup, opened, time_ms)
            }
            What::DeviceAdded { lookup, device, generation, secret } => {
                let key = self.redeemable(&lookup, time_ms)?;
                document.verify(&[&key, device.id.as_bytes()])?;
                self.check_new_device(&device)?;
                self.check_generation(self.generation, generation)?;
                Ok(self.add_device(lookup, device, secret, time_ms))
            }
            What::InvitationVoided { signer, lookup } => {
                self.check_signer(document, &signer)?;
                self.open_state(&lookup)?;
                self.void(&lookup);
                Ok(LogEvent::InvitationVoided { lookup })
            }
            What::DeviceRevoked { signer, device, secret, epochs: _ } => {
                self.check_signer(document, &signer)?;
                self.revoke(device, secret, time_ms)
            }
            What::SecretGeneration { signer, secret } => {
                self.check_signer(document, &signer)?;
                self.check_next_secret(&secret, None)?;
                let generation = secret.number;
                self.renew_secret(secret);
                Ok(LogEvent::SecretGeneration { generation, voided: self.void_all() })
            }
        }
    }

    fn check_signer(&self, document: &Unverified<'_>, signer: &DeviceId) -> Result<(), TrustError> {
        if !self.is_enrolled(signer) {
            return Err(TrustError::NotEnrolled(*signer));
        }
        document.verify(&[signer.as_bytes()])
    }

    fn open_invitation(
        &mut self,
        lookup: LookupId,
        invitation: Invitation,
        time_ms: u64,
    ) -> Result<LogEvent, TrustError> {
        let known =
            |(id, other): (&LookupId, &Invitation)| *id == lookup || other.key == invitation.key;
        if self.invitations.iter().any(known) {
            return Err(TrustError::InvitationKnown(lookup));
        }
        let (kind, expires_ms) = (invitation.kind, invitation.expires_ms);
        if expires_ms <= time_ms {
            return Err(TrustError::InvitationExpired(lookup));
        }
        let life_ms = expires_ms - time_ms;
        if life_ms > INVITATION_LIFE_MS_MAX {
            let (field, limit) = ("invitation life in milliseconds", INVITATION_LIFE_MS_MAX);
            return Err(TrustError::TooLarge { field, actual: life_ms, limit });
        }
        let open = self.invitations.values().filter(|other| other.is_open_at(time_ms)).count();
        at_most("open invitations", open + 1, INVITATIONS_OPEN_MAX)?;
        self.invitations.insert(lookup, invitation);
        Ok(LogEvent::InvitationOpened { lookup, kind, expires_ms })
    }

    /// The key of an invitation that may let a device in at this time.
    fn redeemable(&self, lookup: &LookupId, time_ms: u64) -> Result<[u8; 32], TrustError> {
        let invitation = self.open_state(lookup)?;
        if invitation.kind != JoinKind::Device {
            return Err(TrustError::InvitationKind(*lookup));
        }
        if !invitation.is_open_at(time_ms) {
            return Err(TrustError::InvitationExpired(*lookup));
        }
        Ok(invitation.key)
    }

    fn open_state(&self, lookup: &LookupId) -> Result<&Invitation, TrustError> {
        let invitation =
            self.invitations.get(lookup).ok_or(TrustError::InvitationUnknown(*lookup))?;
        match invitation.state {
            InvitationState::Open => Ok(invitation),
            InvitationState::Used(_) => Err(TrustError::InvitationUsed(*lookup)),
            InvitationState::Voided => Err(TrustError::InvitationVoided(*lookup)),
        }
    }

    fn check_new_device(&self, device: &ListedDevice) -> Result<(), TrustError> {
        let known_key = device.agreement == self.recovery.agreement
            || self.devices.values().any(|other| other.agreement == device.agreement);
        if known_key || self.was_enrolled(&device.id) {
            return Err(TrustError::DeviceKnown(device.id));
        }
        at_most("devices", self.devices.len() + 1, DEVICES_MAX)
    }

    fn add_device(
        &mut self,
        lookup: LookupId,
        device: ListedDevice,
        secret: Vec<u8>,
        time_ms: u64,
    ) -> LogEvent {
        let device = listed(device, self.len(), time_ms);
        let id = device.id;
        if let Some(invitation) = self.invitations.get_mut(&lookup) {
            invitation.state = InvitationState::Used(id);
        }
        self.boxes.insert(device.agreement, secret);
        self.devices.insert(id, device);
        LogEvent::DeviceAdded { device: id, lookup }
    }

    fn revoke(
        &mut self,
        device: DeviceId,
        secret: Option<Generation>,
        time_ms: u64,
    ) -> Result<LogEvent, TrustError> {
        if !self.is_enrolled(&device) {
            return Err(TrustError::NotEnrolled(device));
        }
        if self.devices.values().filter(|other| other.is_enrolled()).count() == 1 {
            return Err(TrustError::LastDevice);
        }
        if let Some(secret) = &secret {
            self.check_next_secret(secret, Some(&device))?;
        }
        let at = self.len();
        if let Some(record) = self.devices.get_mut(&device) {
            record.revoked_at = Some(at);
            record.revoked_ms = Some(time_ms);
            self.boxes.remove(&record.agreement);
        }
        if let Some(secret) = secret {
            self.renew_secret(secret);
        }
        Ok(LogEvent::DeviceRevoked { device, voided: self.void_all() })
    }

    /// A new generation is the next one and sealed to exactly those who stay.
    fn check_next_secret(
        &self,
        secret: &Generation,
        leaving: Option<&DeviceId>,
    ) -> Result<(), TrustError> {
        self.check_generation(self.generation.saturating_add(1), secret.number)?;
        if secret.boxes.keys().ne(self.recipients(leaving).iter()) {
            return Err(TrustError::Recipients);
        }
        Ok(())
    }

    const fn check_generation(&self, expected: u32, actual: u32) -> Result<(), TrustError> {
        if actual == expected { Ok(()) } else { Err(TrustError::Generation { expected, actual }) }
    }

    /// The agreement keys of all enrolled devices but `leaving`, and the recovery key, ascending.
    pub(super) fn recipients(&self, leaving: Option<&DeviceId>) -> Vec<[u8; 32]> {
        let mut keys: Vec<_> = self
            .devices
            .values()
            .filter(|device| device.is_enrolled() && Some(&device.id) != leaving)
            .map(|device| device.agreement)
            .chain([self.recovery.agreement])
            .collect();
        keys.sort_unstable();
        keys
    }

    fn renew_secret(&mut self, secret: Generation) {
        self.generation = secret.number;
        self.boxes = secret.boxes;
        self.previous.insert(secret.number, secret.previous);
    }

    fn void(&mut self, lookup: &LookupId) {
        if let Some(invitation) = self.invitations.get_mut(lookup) {
            invitation.state = InvitationState::Voided;
        }
    }

    fn void_all(&mut self) -> Vec<LookupId> {
        let mut voided = Vec::new();
        for (lookup, invitation) in &mut self.invitations {
            if invitation.state == InvitationState::Open {
                invitation.state = InvitationState::Voided;
                voided.push(*lookup);
            }
        }
        voided
    }
}

/// The first generation is sealed to the first device and the recovery key, which differ.
fn check_first_secret(genesis: &Genesis) -> Result<(), TrustError> {
    let secret = &genesis.secret;
    if secret.number != 1 {
        return Err(TrustError::Generation { expected: 1, actual: secret.number });
    }
    if genesis.device.agreement == genesis.recovery.agreement {
        return Err(TrustError::DeviceKnown(genesis.device.id));
    }
    let mut recipients = [genesis.device.agreement, genesis.recovery.agreement];
    recipients.sort_unstable();
    if secret.boxes.keys().ne(recipients.iter()) {
        return Err(TrustError::Recipients);
    }
    Ok(())
}

fn listed(device: ListedDevice, added_at: u64, added_ms: u64) -> DeviceRecord {
    DeviceRecord {
        id: device.id,
        agreement: device.agreement,
        sealed_label: device.sealed_label,
        added_at,
        added_ms,
        revoked_at: None,
        revoked_ms: None,
    }
}

/// The head after a record: the record names the head before it, so the chain is whole.
fn head_of(record: &[u8]) -> Head {
    Head::from_bytes(blake3::derive_key(HEAD_CONTEXT, record))
}
