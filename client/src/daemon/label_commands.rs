//! Commands about labels, settings and retention.
//!
//! Owns which folder is meant, and an engine's words in those of the control socket. It decides
//! nothing.

use super::account::Account;
use super::commands::handle;
use super::control::{
    Answer, DoneAnswer, Failure, FolderArgument, LabelAnswer, LabelsAnswer, Merge, Moment,
    MomentAnswer, NO_MOMENT, PreviewAnswer, RetentionAnswer, SettingsAnswer, SettingsArgument,
    UntilAnswer,
};
use super::paths::folder_meant;
use super::shared::Shared;
use super::{history_commands, times};
use crate::engine::labels::{LabelAsk, LabelInfo, SettingsChange, SettingsInfo};
use crate::engine::{Ask, AskError, FolderHandle, handle};
use common::chunk::MergePolicy;
use common::duration::window_text;
use common::name::LabelName;
use common::record::Retention;

const NOT_KEPT: &str = "it is not kept to be done later: ask again once `driftless status` says that the server \
                        is connected; if the connection was lost only now it may have been done";

type Reply<T> = crate::engine::handle::Answer<T>;

/// Asks for a change of the folder, which the server alone decides.
async fn ask_to_change<T>(
    handle: &FolderHandle,
    of: impl FnOnce(Reply<T>) -> LabelAsk,
) -> Result<T, Failure> {
    ask(handle, of).await.map_err(|error| {
        let is_offline = matches!(error, AskError::Offline(_));
        let failure = Failure::from(error);
        let hint = if is_offline { NOT_KEPT.to_owned() } else { failure.hint };
        Failure { hint, ..failure }
    })
}

async fn ask<T>(
    handle: &FolderHandle,
    of: impl FnOnce(Reply<T>) -> LabelAsk,
) -> Result<T, AskError> {
    handle.ask(|answer| Ask::Labels(of(answer))).await
}

pub(super) async fn add(
    shared: &Shared,
    folder: &FolderArgument,
    name: &str,
    at: Option<Moment>,
) -> Result<Answer, Failure> {
    let name = typed_name(name)?;
    let folder = folder_meant(&shared.config(), folder)?;
    let handle = handle(shared, &folder)?;
    let at = match at {
        Some(at) => Some(history_commands::moment(&handle, at).await?),
        None => None,
    };
    let label = ask_to_change(&handle, |answer| LabelAsk::Add(name, at, answer)).await?;
    Ok(Answer::Label(label_answer(&folder.name, &*shared.account.lock().await, label)))
}

/// A name that a person can type again as it is shown. Labels are read by a wider rule: those of other
/// devices keep their names.
fn typed_name(text: &str) -> Result<LabelName, Failure> {
    let bad = |message| Failure::new("bad_name", message, "choose another name");
    let name = LabelName::new(text).map_err(|error| bad(error.to_string()))?;
    if text.trim() != text {
        return Err(bad(format!("{text:?}: a label's name neither begins nor ends with a blank")));
    }
    if text.chars().any(is_unseen) {
        return Err(bad(format!("{text:?}: a label's name has no characters that are not seen")));
    }
    Ok(name)
}

/// Whether a character is not shown, or changes the order in which others are. The joiners of Unicode
/// are part of words and of emoji.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
    ) || ('\u{2028}'..='\u{202e}').contains(&c)
        || ('\u{2060}'..='\u{206f}').contains(&c)
}

/// The moment that a label marks.
pub(super) async fn marked(handle: &FolderHandle, name: &str) -> Result<handle::Moment, Failure> {
    let labels = match ask(handle, LabelAsk::List).await {
        Ok(labels) => labels,
        Err(error) => {
            let failure = Failure::from(error);
            let message = format!("the label {name} was to be looked up: {}", failure.message);
            return Err(Failure { message, ..failure });
        }
    };
    moment_of(name, &labels)
}

/// The moment that the labels of a name mark: two devices may have added one of it at once.
fn moment_of(name: &str, labels: &[LabelInfo]) -> Result<handle::Moment, Failure> {
    let named = labels.iter().filter(|label| label.name == name);
    let mut revisions: Vec<_> = named.map(|label| label.at).collect();
    revisions.sort_unstable();
    revisions.dedup();
    match revisions[..] {
        [revision] => Ok(handle::Moment::Revision(revision)),
        [] => Err(Failure::new(
            "usage",
            format!("{name}: is no time and no revision, and no label has this name"),
            NO_MOMENT,
        )),
        _ => Err(Failure::new(
            "usage",
            format!("{name}: several labels have this name"),
            "give the revision of one of them, which `driftless label ls` lists",
        )),
    }
}

pub(super) async fn list(shared: &Shared, folder: &FolderArgument) -> Result<Answer, Failure> {
    let folder = folder_meant(&shared.config(), folder)?;
    let handle = handle(shared, &folder)?;
    let labels = ask(&handle, LabelAsk::List).await?;
    let account = shared.account.lock().await;
    let labels = labels.into_iter().map(|label| label_answer(&folder.name, &account, label));
    let labels = labels.collect();
    Ok(Answer::Labels(LabelsAnswer { labels, folder: folder.name.clone() }))
}

pub(super) async fn remove(
    shared: &Shared,
    folder: &FolderArgument,
    name: String,
) -> Result<Answer, Failure> {
    let folder = folder_meant(&shared.config(), folder)?;
    let handle = handle(shared, &folder)?;
    let on = vec![name.clone()];
    ask_to_change(&handle, |answer| LabelAsk::Remove(name, answer)).await?;
    let folder = Some(folder.name);
    Ok(Answer::Done(DoneAnswer { done: true, on, folder, ..DoneAnswer::default() }))
}

pub(super) async fn show(shared: &Shared, folder: &FolderArgument) -> Result<Answer, Failure> {
    let folder = folder_meant(&shared.config(), folder)?;
    let info = ask(&handle(shared, &folder)?, LabelAsk::Settings).await?;
    Ok(Answer::Settings(settings_answer(folder.name, info)))
}

pub(super) async fn set(
    shared: &Shared,
    folder: &FolderArgument,
    set: &SettingsArgument,
) -> Result<Answer, Failure> {
    let folder = folder_meant(&shared.config(), folder)?;
    let change = change(set);
    let handle = handle(shared, &folder)?;
    let info = ask_to_change(&handle, |answer| LabelAsk::Set(change, answer)).await?;
    Ok(Answer::Settings(settings_answer(folder.name, info)))
}

pub(super) async fn preview(
    shared: &Shared,
    folder: &FolderArgument,
    set: &SettingsArgument,
) -> Result<Answer, Failure> {
    let folder = folder_meant(&shared.config(), folder)?;
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

fn label_answer(folder: &str, account: &Account, label: LabelInfo) -> LabelAnswer {
    LabelAnswer {
        folder: folder.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::LabelId;

    #[test]
    fn a_label_is_called_as_it_can_be_typed_again() {
        for name in ["v1", "the first draft", "Übung: 2026/11", "می\u{200c}خواهم", "👩\u{200d}🔬"]
        {
            assert_eq!(typed_name(name).as_ref().map(LabelName::as_str), Ok(name));
        }
        for name in [
            "",
            " ",
            "first ",
            " first",
            "\u{a0}first",
            "a\tb",
            "a\u{7f}",
            "\u{1b}[31mred",
            "a\u{200b}",
            "\u{202e}desrever",
            "two\u{2028}lines",
            "\u{feff}a",
        ] {
            let failure = typed_name(name).unwrap_err();
            assert_eq!(failure.kind, "bad_name", "{name:?}");
            assert!(!failure.message.contains(char::is_control), "{failure:?}");
        }
    }

    #[test]
    fn a_name_that_marks_two_moments_stands_for_neither() {
        let label = |name: &str, at| LabelInfo {
            label: LabelId::from_bytes([7; 16]),
            name: name.to_owned(),
            at,
            at_ms: 0,
            added_ms: 0,
            device: None,
            unreadable: None,
        };
        let labels = [label("a", 1), label("b", 2), label("b", 2), label("a", 3)];
        assert_eq!(moment_of("b", &labels), Ok(handle::Moment::Revision(2)));
        let failure = moment_of("a", &labels).unwrap_err();
        assert!(failure.message.contains("several labels"), "{failure:?}");
        let failure = moment_of("c", &labels).unwrap_err();
        assert!(failure.message.contains("no label has this name"), "{failure:?}");
    }
}
