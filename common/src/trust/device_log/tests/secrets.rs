//! Generations of the user secret, and the labels sealed under it.

use super::*;

#[test]
fn a_new_secret_reaches_every_listed_device_and_the_recovery_key() {
    let user = eventful();
    for key in [keys(1).agreement, keys(2).agreement, recovery().agreement()] {
        assert_eq!(user.log.open_secrets(&key).as_ref(), Ok(&user.secrets));
    }
    let revoked = user.log.open_secrets(&keys(3).agreement);
    assert_eq!(revoked, Err(TrustError::NoSecret));
    let stranger = user.log.open_secrets(&keys(7).agreement);
    assert_eq!(stranger, Err(TrustError::NoSecret));
}

#[test]
fn a_revocation_without_a_new_secret_takes_the_box_away() {
    let mut user = User::new();
    user.add(2);
    assert_eq!(user.log.open_secrets(&keys(2).agreement).as_ref(), Ok(&user.secrets));
    user.revoke(1, 2);
    assert_eq!(user.log.open_secrets(&keys(2).agreement), Err(TrustError::NoSecret));
}

#[test]
fn a_new_secret_voids_open_invitations() {
    let mut user = User::new();
    user.open(9);
    let record =
        generation_record(&user.log, &keys(1).signing, &user.rotation(101), BEGAN_MS).unwrap();
    let voided = vec![code(9).lookup()];
    assert_eq!(user.accept(record), LogEvent::SecretGeneration { generation: 2, voided });
}

#[test]
fn a_new_secret_that_leaves_someone_out_is_refused() {
    let mut user = User::new();
    user.add(2);
    let signer = keys(1).signing;
    let whole = generation_record(&user.log, &signer, &user.rotation(101), 1).unwrap();
    let What::SecretGeneration { secret, .. } =
        Record::decode(&whole[2 + Signature::LEN..]).unwrap().what
    else {
        panic!("not a generation");
    };
    let forge = |secret: Generation| {
        user.forge(What::SecretGeneration { signer: signer.device(), secret }, &[&signer])
    };
    for left_out in secret.boxes.keys() {
        let mut partial = secret.clone();
        partial.boxes.remove(left_out);
        user.refuses(&forge(partial), TrustError::Recipients);
    }
    let mut spare = secret.clone();
    spare.boxes.insert([77; 32], vec![0; 80]);
    user.refuses(&forge(spare), TrustError::Recipients);
    let skipping = Generation { number: 3, ..secret };
    user.refuses(&forge(skipping), TrustError::Generation { expected: 2, actual: 3 });
}

#[test]
fn a_rotation_with_a_revocation_leaves_the_revoked_device_out() {
    let mut user = User::new();
    user.add(2);
    user.add(3);
    let signer = keys(1).signing;
    let whole = generation_record(&user.log, &signer, &user.rotation(101), 1).unwrap();
    let What::SecretGeneration { secret, .. } =
        Record::decode(&whole[2 + Signature::LEN..]).unwrap().what
    else {
        panic!("not a generation");
    };
    let what = What::DeviceRevoked {
        signer: signer.device(),
        device: keys(3).device(),
        secret: Some(secret),
        epochs: BTreeMap::new(),
    };
    user.refuses(&user.forge(what, &[&signer]), TrustError::Recipients);
}

#[test]
fn a_device_that_joins_with_an_older_secret_is_refused() {
    let mut user = User::new();
    let record =
        generation_record(&user.log, &keys(1).signing, &user.rotation(101), BEGAN_MS).unwrap();
    user.accept(record);
    user.open(9);
    let old = user.redeem(&code(9), 2, BEGAN_MS);
    assert_eq!(old, Err(TrustError::Generation { expected: 2, actual: 1 }));
    let stale = generation_record(&user.log, &keys(1).signing, &user.rotation(102), 1);
    assert_eq!(stale, Err(TrustError::Generation { expected: 2, actual: 1 }));
}

#[test]
fn room_for_sealing_epochs_round_trips() {
    let mut user = User::new();
    user.add(2);
    let signer = keys(1).signing;
    let what = What::DeviceRevoked {
        signer: signer.device(),
        device: keys(2).device(),
        secret: None,
        epochs: BTreeMap::from([(crate::ids::FolderId::from_bytes([6; 32]), 2)]),
    };
    let record = user.forge(what.clone(), &[&signer]);
    assert_eq!(Record::decode(&record[2 + Signature::LEN..]).unwrap().what, what);
    user.accept(record);
}

#[test]
fn a_label_that_does_not_open_concerns_one_device_only() {
    let mut user = User::new();
    user.open(9);
    let good = user.redeem(&code(9), 2, BEGAN_MS).unwrap();
    let mut record = Record::decode(&good[2 + 2 * Signature::LEN..]).unwrap();
    if let What::DeviceAdded { device, .. } = &mut record.what {
        device.sealed_label = vec![9; 50];
    }
    let signers = [&code(9).signing_key(), &keys(2).signing];
    user.accept(sign(Label::DeviceLog, &record.encode(), &signers));
    let labels: Vec<_> = user.log.devices().map(|d| d.label(&user.secrets).is_ok()).collect();
    assert_eq!(labels.iter().filter(|ok| **ok).count(), 1);
    assert_eq!(labels.len(), 2);
}

#[test]
fn servers_learn_no_device_names() {
    let user = eventful();
    for record in &user.records {
        for label in ["first", "other"] {
            assert!(!record.windows(label.len()).any(|window| window == label.as_bytes()));
        }
    }
}
