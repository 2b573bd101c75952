//! Who gets in: keys, enrolment, revocation, and what is left of a connection after trouble.

use super::{Bed, HASTY, some_chunks, soon};
use crate::remote::{QuicRemote, Remote, RemoteError, Server, join};
use common::ids::ClusterId;
use common::keys::{DeviceKeys, SigningKey};
use common::trust::{JoinKind, revoke_record};
use common::wire::meta::{DeviceLogAppend, Empty, RefusalCode, Reply, Request};
use server::listen::{ListenError, ListenLimits, Listener};
use std::net::UdpSocket;
use std::time::Duration;

#[tokio::test]
async fn an_enrolled_device_asks_and_is_answered() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let replies = member.remote.request(Request::FolderList(Empty {})).await.unwrap();
    let [Reply::Folders(part)] = replies.as_slice() else { panic!("{replies:?}") };
    assert_eq!(common::trust::FolderGenesis::id(&part.folders[0].genesis), folder);
    assert!(member.remote.is_connected());
    let traffic = member.remote.traffic();
    assert!(traffic.sent_bytes > 0 && traffic.received_bytes > 0, "{traffic:?}");
}

#[tokio::test]
async fn a_server_with_another_key_is_told_apart() {
    let bed = Bed::start().await;
    let expected = ClusterId::from_bytes(SigningKey::from_seed([99; 32]).public());
    let server = Server { cluster: expected, ..bed.server() };
    let remote = QuicRemote::new(server, &SigningKey::from_seed([10; 32]));
    let error = soon(remote.connect()).await.unwrap_err();
    let address = bed.address.to_string();
    assert_eq!(error, RemoteError::WrongServerKey { address, expected });
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn an_unknown_device_is_refused_before_any_request() {
    let bed = Bed::start().await;
    let remote = bed.remote(&SigningKey::from_seed([10; 32]));
    let error = soon(remote.request(Request::FolderList(Empty {}))).await.unwrap_err();
    assert_eq!(error.refusal_code(), Some(RefusalCode::NotEnrolled), "{error}");
    assert_eq!(bed.listener.as_ref().unwrap().counters().not_enrolled, 1);
}

#[tokio::test]
async fn a_device_that_is_not_let_in_knocks_again_only_after_a_while() {
    let bed = Bed::start().await;
    let key = DeviceKeys::from_seed([10; 32]).signing;
    let remote = bed.remote(&key);
    let refused = soon(remote.connect()).await.unwrap_err();
    for _ in 0..50 {
        assert_eq!(remote.request(Request::FolderList(Empty {})).await, Err(refused.clone()));
    }
    assert_eq!(bed.listener.as_ref().unwrap().counters().not_enrolled, 1);
    assert_eq!(remote.barred(), Some(refused));

    // One that waits less long is let in once it is enrolled, and what was said is forgotten.
    let remote = QuicRemote::with_timing(bed.server(), &key, HASTY);
    assert!(soon(remote.connect()).await.unwrap_err().is_barred());
    bed.enrol(10).await;
    soon(async {
        while let Err(error) = remote.connect().await {
            assert!(error.is_barred(), "{error}");
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(remote.barred(), None);
}

#[tokio::test]
async fn a_person_ends_the_pause_of_a_device_that_was_not_known_but_of_no_revoked_one() {
    let bed = Bed::start().await;
    let remote = bed.remote(&DeviceKeys::from_seed([10; 32]).signing);
    assert!(soon(remote.connect()).await.unwrap_err().is_barred());
    let mut member = bed.enrol(10).await;
    assert!(soon(remote.connect()).await.unwrap_err().is_barred(), "the pause is not kept");
    soon(remote.knock()).await;
    assert_eq!(remote.barred(), None);
    assert!(remote.is_connected());

    let second = bed.enrol_second(&mut member, 11).await;
    let now_ms = bed.service.now_ms();
    let record =
        revoke_record(&member.log, &member.keys.signing, &second.device(), None, now_ms).unwrap();
    let append = Request::DeviceLogAppend(DeviceLogAppend { record });
    member.remote.request(append).await.unwrap();
    let revoked = bed.remote(&second.signing);
    assert!(soon(revoked.connect()).await.unwrap_err().is_barred());
    let turned_away = bed.listener.as_ref().unwrap().counters().not_enrolled;
    soon(revoked.knock()).await;
    assert!(soon(revoked.connect()).await.unwrap_err().is_barred());
    assert_eq!(bed.listener.as_ref().unwrap().counters().not_enrolled, turned_away);
}

#[tokio::test]
async fn a_code_works_once_and_for_its_kind_only() {
    let mut bed = Bed::start().await;
    let mut member = bed.enrol(10).await;
    let second = bed.enrol_second(&mut member, 11).await;
    bed.remote(&second.signing).connect().await.unwrap();

    let used = bed.code(JoinKind::Device, 11);
    let error = join::fetch(&used, &SigningKey::from_seed([12; 32])).await.unwrap_err();
    assert_eq!(error.refusal_code(), Some(RefusalCode::InvitationInvalid), "{error}");
    bed.stop().await;
}

#[tokio::test]
async fn revoking_a_device_closes_its_connections() {
    let bed = Bed::start().await;
    let mut member = bed.enrol(10).await;
    let second = bed.enrol_second(&mut member, 11).await;
    let revoked = bed.remote(&second.signing);
    revoked.connect().await.unwrap();

    let signer = &member.keys.signing;
    let now_ms = bed.service.now_ms();
    let record = revoke_record(&member.log, signer, &second.device(), None, now_ms).unwrap();
    let append = Request::DeviceLogAppend(DeviceLogAppend { record });
    member.remote.request(append).await.unwrap();

    soon(revoked.disconnected()).await;
    let error = soon(revoked.request(Request::FolderList(Empty {}))).await.unwrap_err();
    assert_eq!(error.refusal_code(), Some(RefusalCode::Revoked), "{error}");
    assert!(error.to_string().contains("this device was revoked on 20"), "{error}");
    assert_eq!(revoked.barred(), Some(error));
    member.remote.request(Request::FolderList(Empty {})).await.unwrap();
}

#[tokio::test]
async fn a_server_that_comes_back_is_reached_again() {
    let mut bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let chunks = some_chunks(3, 100);
    member.remote.put(folder, chunks.clone()).await.unwrap();

    soon(bed.stop()).await;
    soon(member.remote.disconnected()).await;
    assert!(!member.remote.is_connected());
    bed.start_again();
    soon(member.remote.request(Request::FolderList(Empty {}))).await.unwrap();
    soon(member.remote.put(folder, chunks)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_for_all_who_ask() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = Server {
        addresses: vec![silent.local_addr().unwrap().to_string()],
        cluster: ClusterId::from_bytes([3; 32]),
    };
    let remote = QuicRemote::with_timing(server, &SigningKey::from_seed([10; 32]), HASTY);
    let begun = std::time::Instant::now();
    let asked = (0..20).map(|_| remote.connect());
    for outcome in futures_util::future::join_all(asked).await {
        let error = outcome.unwrap_err();
        assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
        assert!(error.is_retryable() && error.is_offline());
    }
    // One attempt for all of them, not one after another.
    assert!(begun.elapsed() < HASTY.connect * 5, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn addresses_are_tried_in_order() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut server = bed.server();
    server.addresses.insert(0, silent.local_addr().unwrap().to_string());
    server.addresses.insert(0, "no port".into());
    let remote = QuicRemote::with_timing(server, &member.keys.signing, HASTY);
    remote.connect().await.unwrap();
}

#[tokio::test]
async fn the_newest_connections_of_a_device_take_the_place_of_its_oldest() {
    let limits = ListenLimits { connections_per_device_max: 2, ..ListenLimits::default() };
    let bed = Bed::start_with(limits).await;
    let member = bed.enrol(10).await;
    // As a device leaves them behind that is killed and started again and again.
    let runs: Vec<_> = (0..10).map(|_| bed.remote(&member.keys.signing)).collect();
    for (number, run) in runs.iter().enumerate() {
        run.connect().await.unwrap();
        if let Some(oldest) = number.checked_sub(2) {
            soon(runs[oldest].disconnected()).await;
        }
    }
    assert!(runs[8].is_connected() && runs[9].is_connected());
    runs[9].request(Request::FolderList(Empty {})).await.unwrap();
    // Who was displaced may come again, and others are not touched.
    let other = bed.enrol(11).await;
    other.remote.connect().await.unwrap();
    runs[0].connect().await.unwrap();
    soon(runs[8].disconnected()).await;
    assert!(other.remote.is_connected());
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let bed = Bed::start().await;
    let started = Listener::start(bed.service.clone(), &bed.cluster_key, bed.address);
    assert!(matches!(started, Err(ListenError::PortInUse { address }) if address == bed.address));
}

#[tokio::test]
async fn a_silent_connection_is_kept_alive() {
    let idle = Duration::from_millis(800);
    let bed = Bed::start_with(ListenLimits { idle, ..ListenLimits::default() }).await;
    let member = bed.enrol(10).await;
    let remote = QuicRemote::with_timing(bed.server(), &member.keys.signing, HASTY);
    remote.connect().await.unwrap();
    let lost = tokio::time::timeout(idle * 2, remote.disconnected());
    assert!(lost.await.is_err(), "the keep-alive came too late");
}
