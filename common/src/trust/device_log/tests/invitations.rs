//! Invitations: once, in time, of the right kind, and believed by the joiner.

use super::*;

#[test]
fn an_invited_device_joins_and_reads_labels() {
    let mut user = User::new();
    let lookup = code(9).lookup();
    assert_eq!(
        user.open(9),
        LogEvent::InvitationOpened {
            lookup,
            kind: JoinKind::Device,
            expires_ms: BEGAN_MS + LIFE_MS
        }
    );
    let record = user.redeem(&code(9), 2, BEGAN_MS + 1).unwrap();
    let device = keys(2).device();
    assert_eq!(user.accept(record), LogEvent::DeviceAdded { device, lookup });
    assert!(user.log.is_enrolled(&device));
    assert_eq!(user.log.invitation(&lookup).unwrap().state, InvitationState::Used(device));
    assert_eq!(user.log.device(&device).unwrap().label(&user.secrets), Ok("other".into()));
}

#[test]
fn a_redeeming_record_needs_both_signatures() {
    let mut user = User::new();
    user.open(9);
    let good = user.redeem(&code(9), 2, BEGAN_MS).unwrap();
    let body = &good[2 + 2 * Signature::LEN..];
    let (invitation, device, other) = (code(9).signing_key(), keys(2).signing, keys(3).signing);
    let wrong: [&[&SigningKey]; 5] = [
        &[&invitation],
        &[&device],
        &[&device, &invitation],
        &[&invitation, &other],
        &[&other, &device],
    ];
    for signers in wrong {
        user.refuses(&sign(Label::DeviceLog, body, signers), TrustError::Signature);
    }
    user.accept(good);
}

#[test]
fn an_invitation_works_once() {
    let mut user = User::new();
    user.add(9);
    let lookup = code(9).lookup();
    assert_eq!(user.redeem(&code(9), 3, BEGAN_MS), Err(TrustError::InvitationUsed(lookup)));
}

#[test]
fn an_unknown_invitation_is_refused() {
    let user = User::new();
    let lookup = code(9).lookup();
    assert_eq!(user.redeem(&code(9), 3, BEGAN_MS), Err(TrustError::InvitationUnknown(lookup)));
}

#[test]
fn an_expired_invitation_is_refused_by_the_records_own_time() {
    let mut user = User::new();
    user.open(9);
    let (lookup, expires_ms) = (code(9).lookup(), BEGAN_MS + LIFE_MS);
    let late = user.redeem(&code(9), 2, expires_ms);
    assert_eq!(late, Err(TrustError::InvitationExpired(lookup)));
    assert!(user.redeem(&code(9), 2, expires_ms - 1).is_ok());
    assert_eq!(user.log.expired_invitations(expires_ms - 1).count(), 0);
    assert_eq!(user.log.expired_invitations(expires_ms).collect::<Vec<_>>(), [lookup]);
}

#[test]
fn a_voided_invitation_is_refused_and_voided_once() {
    let mut user = User::new();
    user.open(9);
    let lookup = code(9).lookup();
    let void = |user: &User| void_record(&user.log, &keys(1).signing, &lookup, BEGAN_MS);
    let record = void(&user).unwrap();
    assert_eq!(user.accept(record), LogEvent::InvitationVoided { lookup });
    let error = TrustError::InvitationVoided(lookup);
    assert_eq!(user.redeem(&code(9), 2, BEGAN_MS), Err(error.clone()));
    assert_eq!(void(&user), Err(error));
    assert_eq!(user.log.expired_invitations(u64::MAX).count(), 0);
}

#[test]
fn a_used_or_unknown_invitation_is_not_voided() {
    let mut user = User::new();
    user.add(2);
    let void = |code: &JoinCode| {
        void_record(&user.log, &keys(1).signing, &code.lookup(), BEGAN_MS).unwrap_err()
    };
    assert_eq!(void(&code(2)), TrustError::InvitationUsed(code(2).lookup()));
    assert_eq!(void(&code(9)), TrustError::InvitationUnknown(code(9).lookup()));
}

#[test]
fn a_code_of_another_kind_lets_no_device_in() {
    let mut user = User::new();
    let share = code_of(JoinKind::Share, 9);
    let signer = keys(1).signing;
    let record =
        invitation_record(&user.log, &signer, &share, BEGAN_MS + LIFE_MS, BEGAN_MS).unwrap();
    user.accept(record);
    let error = TrustError::InvitationKind(share.lookup());
    assert_eq!(user.redeem(&share, 2, BEGAN_MS), Err(error));
    // The same secret as another kind is another invitation.
    let device = code(9);
    let error = TrustError::InvitationUnknown(device.lookup());
    assert_eq!(user.redeem(&device, 2, BEGAN_MS), Err(error));
}

#[test]
fn a_code_of_a_node_or_first_device_is_not_opened_in_a_log() {
    let user = User::new();
    for kind in [JoinKind::Bootstrap, JoinKind::Node] {
        let code = code_of(kind, 9);
        let made =
            invitation_record(&user.log, &keys(1).signing, &code, BEGAN_MS + LIFE_MS, BEGAN_MS);
        let value = u64::from(kind.code());
        assert_eq!(made, Err(TrustError::Unknown { field: "invitation kind", value }));
    }
}

#[test]
fn an_invitation_is_opened_once() {
    let mut user = User::new();
    user.open(9);
    let lookup = code(9).lookup();
    let signer = keys(1).signing;
    let again = invitation_record(&user.log, &signer, &code(9), BEGAN_MS + LIFE_MS, BEGAN_MS);
    assert_eq!(again, Err(TrustError::InvitationKnown(lookup)));
    let other = LookupId::from_bytes([5; 16]);
    let same_key = What::InvitationOpened {
        signer: signer.device(),
        lookup: other,
        key: code(9).signing_key().public(),
        kind: JoinKind::Device,
        expires_ms: BEGAN_MS + 1,
    };
    user.refuses(&user.forge(same_key, &[&signer]), TrustError::InvitationKnown(other));
}

#[test]
fn the_life_of_an_invitation_is_bounded() {
    let user = User::new();
    let make =
        |expires_ms| invitation_record(&user.log, &keys(1).signing, &code(9), expires_ms, BEGAN_MS);
    assert_eq!(make(BEGAN_MS), Err(TrustError::InvitationExpired(code(9).lookup())));
    assert!(make(BEGAN_MS + INVITATION_LIFE_MS_MAX).is_ok());
    assert!(matches!(
        make(BEGAN_MS + INVITATION_LIFE_MS_MAX + 1),
        Err(TrustError::TooLarge { .. })
    ));
    assert!(matches!(make(u64::MAX), Err(TrustError::TooLarge { .. })));
}

#[test]
fn open_invitations_are_bounded_and_expired_ones_not_counted() {
    let mut user = User::new();
    for number in 0..INVITATIONS_OPEN_MAX {
        user.open(u8::try_from(number).unwrap());
    }
    let signer = keys(1).signing;
    let make =
        |time_ms| invitation_record(&user.log, &signer, &code(99), BEGAN_MS + 2 * LIFE_MS, time_ms);
    assert!(matches!(make(BEGAN_MS), Err(TrustError::TooLarge { field: "open invitations", .. })));
    assert!(make(BEGAN_MS + LIFE_MS).is_ok());
}

#[test]
fn an_enrolled_device_is_not_added_again() {
    let mut user = User::new();
    user.open(9);
    let again = user.redeem(&code(9), 1, BEGAN_MS);
    assert_eq!(again, Err(TrustError::DeviceKnown(keys(1).device())));
}

#[test]
fn a_device_with_anothers_agreement_key_is_refused() {
    let mut user = User::new();
    user.open(9);
    for agreement in [keys(1).agreement, recovery().agreement()] {
        let mut stolen = keys(2);
        stolen.agreement = agreement;
        let new = NewDevice { keys: &stolen, label: "x", secrets: &user.secrets, seed: [2; 32] };
        let made = redeem_record(&user.log, &code(9), &new, BEGAN_MS);
        assert_eq!(made, Err(TrustError::DeviceKnown(stolen.device())));
    }
}

#[test]
fn revoking_voids_all_open_invitations() {
    let mut user = User::new();
    user.add(2);
    user.open(8);
    user.open(9);
    let mut voided = vec![code(8).lookup(), code(9).lookup()];
    voided.sort_unstable();
    let device = keys(2).device();
    assert_eq!(user.revoke(1, 2), LogEvent::DeviceRevoked { device, voided });
    let error = TrustError::InvitationVoided(code(9).lookup());
    assert_eq!(user.redeem(&code(9), 3, BEGAN_MS), Err(error));
}

#[test]
fn a_joiner_believes_the_log_that_its_blob_names_and_no_other() {
    let mut user = User::new();
    user.open(9);
    let blob = InvitationBlob {
        user: user.log.user(),
        device_log_head: user.log.head(),
        device_log_len: user.log.len(),
        keyring_version: 0,
        user_secrets: user.secrets.clone(),
        folders: vec![],
        invited: None,
    };
    let mut fork = User::new();
    fork.open(8);
    assert!(blob.admits(&user.log));
    assert!(!blob.admits(&fork.log), "a fork");
    assert!(!blob.admits(&User::new().log), "an older state");
    let other = InvitationBlob { user: UserId::from_bytes([1; 32]), ..blob.clone() };
    assert!(!other.admits(&user.log), "another user");
    user.open(8);
    assert!(blob.admits(&user.log), "a later state");
}
