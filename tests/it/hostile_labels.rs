//! Labels and settings that no honest device makes: what the service refuses is an alarm where a lying
//! server delivers it all the same, and what it cannot read stops nothing.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::Ask;
use client::engine::labels::{LabelAsk, SettingsChange};
use common::chunk::MergePolicy;
use common::ids::LabelId;
use common::record::{Change, Retention, Settings};
use common::revision::Revision;
use common::wire::meta::RejectionCode;
use tests::sim::scene::{Scene, play};

const LABEL: LabelId = LabelId::from_bytes([7; 16]);

fn add(at: Revision) -> Change {
    Change::AddLabel { label: LABEL, at, name: b"sealed with no key".to_vec() }
}

fn set(base: Revision) -> Change {
    let settings = Settings { retention: Retention::default(), sealed: b"no key".to_vec() };
    Change::SetSettings { base, settings }
}

#[test]
fn a_label_of_a_moment_that_has_not_come_raises_the_alarm() {
    play(async |scene: &Scene| {
        let changes = vec![add(1_000)];
        let refused = scene.rogue.commit(changes.clone()).await;
        assert_eq!(refused, Err(RejectionCode::NotWhole));
        scene.is_an_alarm(changes, "its label names revision 1000").await;
    });
}

#[test]
fn settings_with_another_base_raise_the_alarm() {
    play(async |scene: &Scene| {
        let changes = vec![set(3)];
        let refused = scene.rogue.commit(changes.clone()).await;
        assert_eq!(refused, Err(RejectionCode::StaleSettings));
        scene.is_an_alarm(changes, "base of the settings is stale").await;
    });
}

#[test]
fn what_no_key_opens_is_listed_and_can_be_taken_away_and_set_anew() {
    play(async |scene: &Scene| {
        scene.rogue.commit(vec![add(1), set(0)]).await.unwrap();
        scene.wait().await;
        let handle = scene.victim.handle().unwrap();
        let list = async || handle.ask(|answer| Ask::Labels(LabelAsk::List(answer))).await;
        let settings = async || handle.ask(|answer| Ask::Labels(LabelAsk::Settings(answer))).await;
        let labels = list().await.unwrap();
        assert_eq!((labels.len(), labels[0].name.as_str()), (1, ""));
        assert!(labels[0].unreadable.is_some(), "{labels:?}");
        // Nothing is merged unasked under preferences that nobody can read.
        assert_eq!(settings().await.unwrap().merge, MergePolicy::Ask);
        let remove = LABEL.to_string();
        handle.ask(|answer| Ask::Labels(LabelAsk::Remove(remove, answer))).await.unwrap();
        assert_eq!(list().await, Ok(vec![]));
        let change =
            SettingsChange { merge: Some(MergePolicy::Never), ..SettingsChange::default() };
        handle.ask(|answer| Ask::Labels(LabelAsk::Set(change, answer))).await.unwrap();
        assert_eq!(settings().await.unwrap().merge, MergePolicy::Never);
        scene.goes_on().await;
    });
}
