//! Commands about labels, settings and retention.
//!
//! Owns which folder is meant, and an engine's words in those of the control socket. It decides
//! nothing.

use super::account::Account;
use super::commands::{done, handle, named_or_only};
use super::control::{
    Answer, Failure, LabelAnswer, LabelsAnswer, Merge, Moment, MomentAnswer, PreviewAnswer,
    RetentionAnswer, SettingsAnswer, SettingsArgument, UntilAnswer,
};
use super::shared::Shared;
use super::{history_commands, times};
use crate::engine::labels::{LabelAsk, LabelInfo, SettingsChange, SettingsInfo};
use crate::engine::{Ask, AskError, FolderHandle};
use common::chunk::MergePolicy;
use common::duration::window_text;
use common::name::LabelName;
use common::record::Retention;

type Reply<T> = crate::engine::handle::Answer<T>;

async fn ask<T>(
    handle: &FolderHandle,
    of: impl FnOnce(Reply<T>) -> LabelAsk,
) -> Result<T, AskError> {
    handle.ask(|answer| Ask::Labels(of(answer))).await
}

pub(super) async fn add(
    shared: &Shared,
    folder: Option<&str>,
    name: &str,
    at: Option<Moment>,
) -> Result<Answer, Failure> {
    let at = at.map(history_commands::moment);
    let hint = "choose another name";
    let name = LabelName::new(name);
    let name = name.map_err(|error| Failure::new("bad_name", error.to_string(), hint))?;
    let handle = handle(shared, &named_or_only(shared, folder)?)?;
    let label = ask(&handle, |answer| LabelAsk::Add(name, at, answer)).await?;
    Ok(Answer::Label(label_answer(&*shared.account.lock().await, label)))
}

pub(super) async fn list(shared: &Shared, folder: Option<&str>) -> Result<Answer, Failure> {
    let handle = handle(shared, &named_or_only(shared, folder)?)?;
    let labels = ask(&handle, LabelAsk::List).await?;
    let account = shared.account.lock().await;
    let labels = labels.into_iter().map(|label| label_answer(&account, label));
    Ok(Answer::Labels(LabelsAnswer { labels: labels.collect() }))
}

pub(super) async fn remove(
    shared: &Shared,
    folder: Option<&str>,
    name: String,
) -> Result<Answer, Failure> {
    let handle = handle(shared, &named_or_only(shared, folder)?)?;
    let on = name.clone();
    ask(&handle, |answer| LabelAsk::Remove(name, answer)).await?;
    Ok(done([on]))
}

pub(super) async fn show(shared: &Shared, folder: Option<&str>) -> Result<Answer, Failure> {
    let folder = named_or_only(shared, folder)?;
    let info = ask(&handle(shared, &folder)?, LabelAsk::Settings).await?;
    Ok(Answer::Settings(settings_answer(folder.name, info)))
}

pub(super) async fn set(
    shared: &Shared,
    folder: Option<&str>,
    set: &SettingsArgument,
) -> Result<Answer, Failure> {
    let folder = named_or_only(shared, folder)?;
    let change = change(set);
    let info = ask(&handle(shared, &folder)?, |answer| LabelAsk::Set(change, answer)).await?;
    Ok(Answer::Settings(settings_answer(folder.name, info)))
}

pub(super) async fn preview(
    shared: &Shared,
    folder: Option<&str>,
    set: &SettingsArgument,
) -> Result<Answer, Failure> {
    let folder = named_or_only(shared, folder)?;
    let handle = handle(shared, &folder)?;
    let standing = ask(&handle, LabelAsk::Settings).await?.retention;
    let retention = change(set).retention(standing);
    let found = ask(&handle, |answer| LabelAsk::Preview(Some(retention), answer)).await?;
    let kept = found.kept.into_iter();
    let kept = kept.map(|(revision, ms)| MomentAnswer { revision, time: times::from_ms(ms) });
    Ok(Answer::Preview(PreviewAnswer {
        folder: folder.name,
        retention: retention_answer(&retention),
        released_versions: found.versions,
        released_contents: found.contents,
        whole_since: since(found.whole_since_ms),
        kept: kept.collect(),
    }))
}

fn change(set: &SettingsArgument) -> SettingsChange {
    let SettingsArgument { keep_all_ms, daily_ms, monthly_ms, merge } = *set;
    let merge = merge.map(|merge| match merge {
        Merge::Auto => MergePolicy::Auto,
        Merge::Ask => MergePolicy::Ask,
        Merge::Never => MergePolicy::Never,
    });
    SettingsChange { keep_all_ms, daily_ms, monthly_ms, merge }
}

fn label_answer(account: &Account, label: LabelInfo) -> LabelAnswer {
    LabelAnswer {
        name: label.name,
        id: label.label.to_string(),
        revision: label.at,
        time: times::from_ms(label.at_ms),
        added: times::from_ms(label.added_ms),
        device: label.device.map_or_else(String::new, |device| account.device_name(&device)),
        unreadable: label.unreadable,
    }
}

fn settings_answer(folder: String, info: SettingsInfo) -> SettingsAnswer {
    SettingsAnswer {
        folder,
        retention: retention_answer(&info.retention),
        merge: match info.merge {
            MergePolicy::Auto => Merge::Auto,
            MergePolicy::Ask => Merge::Ask,
            MergePolicy::Never => Merge::Never,
        },
        until: info.new.map(|(alone_from_ms, before)| UntilAnswer {
            time: times::from_ms(alone_from_ms),
            retention: retention_answer(&before),
        }),
        whole_since: since(info.whole_since_ms),
    }
}

fn since(time_ms: u64) -> Option<String> {
    (time_ms > 0).then(|| times::from_ms(time_ms))
}

fn retention_answer(retention: &Retention) -> RetentionAnswer {
    RetentionAnswer {
        keep_all: window_text(retention.keep_all_ms),
        daily: window_text(retention.daily_ms),
        monthly: window_text(retention.monthly_ms),
    }
}
