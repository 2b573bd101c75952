//! A history that is thinned all the time: short retentions, labels that come and go, and thinnings in
//! between.
//!
//! Owns when that happens, drawn from a generator of its own, so that it changes nothing of what the
//! story draws. What has to be true afterwards is S10's.

use super::super::draw::Draw;
use super::Story;
use client::engine::Ask;
use client::engine::labels::{LabelAsk, SettingsChange};
use common::name::LabelName;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long somebody waits for what they asked of a device that may be stopped.
const PATIENCE: Duration = Duration::from_secs(20);
/// Windows of the first kind, in milliseconds: the actions of a phase take about ten seconds.
const WINDOWS_MS: [u64; 5] = [0, 0, 500, 3_000, 60_000];

/// What a history is thinned by.
pub(super) struct Keeping {
    draw: Draw,
    labels: u32,
}

impl Keeping {
    pub(super) fn new(seed: u64) -> Self {
        Self { draw: Draw::new(seed ^ 0x7411_7411), labels: 0 }
    }
}

impl Story {
    /// What happens to the history after a step.
    pub(super) async fn keep(&mut self) {
        if !self.kinds.thinning {
            return;
        }
        let draw = self.keeping.draw.clone();
        if draw.per_mille(200) {
            let keep_all_ms = draw.pick(&WINDOWS_MS).copied();
            let change = SettingsChange {
                keep_all_ms,
                daily_ms: Some(0),
                monthly_ms: Some(if draw.per_mille(300) { u64::MAX } else { 0 }),
                merge: None,
            };
            self.ask_somebody(move |answer| LabelAsk::Set(change, answer));
        }
        if draw.per_mille(150) {
            self.keeping.labels += 1;
            let name = format!("label {}", self.keeping.labels);
            if let Ok(name) = LabelName::new(&name) {
                self.ask_somebody(|answer| LabelAsk::Add(name, None, answer));
            }
        }
        if draw.per_mille(60) {
            let name = format!("label {}", 1 + draw.below(self.keeping.labels as usize));
            self.ask_somebody(|answer| LabelAsk::Remove(name, answer));
        }
        if draw.per_mille(400) {
            self.thin().await;
        }
    }

    /// Thins as far as a server does that may be failing; the next time goes on.
    pub(super) async fn thin(&mut self) {
        if !self.kinds.thinning {
            return;
        }
        let thinned = self.world.server.service().thin_all_after(0).await;
        self.world.ledger.log(|| format!("thinned: {thinned:?}"));
        if let Ok(thinned) = thinned {
            self.report.thinned += thinned.versions;
        }
    }

    /// Asks a device, and does not wait: it may be stopped, or without a connection.
    fn ask_somebody<T: std::fmt::Debug + 'static>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, client::engine::AskError>>) -> LabelAsk + 'static,
    ) {
        let device = self.keeping.draw.pick(&self.world.devices);
        let Some(device) = device.cloned() else { return };
        let (Some(handle), ledger) = (device.handle(), self.world.ledger.clone()) else { return };
        tokio::task::spawn_local(async move {
            let asked = handle.ask(|answer| Ask::Labels(ask(answer)));
            let answer = tokio::time::timeout(PATIENCE, asked).await;
            ledger.log(|| format!("device {}: {answer:?}", device.number));
        });
    }
}
