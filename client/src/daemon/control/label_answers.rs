//! The shapes of answers about labels, settings and retention (docs/json.md). Fields are only ever
//! added.
//!
//! Owns their names. It must not know where the values come from.

use super::protocol::Merge;
use serde::{Deserialize, Serialize};

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelAnswer {
    /// The folder's name.
    pub folder: String,
    /// Its name; empty when it does not open.
    pub name: String,
    /// Its id, in hex.
    pub id: String,
    /// The last revision of the moment that it marks.
    pub revision: u64,
    /// When that was accepted; RFC 3339.
    pub time: String,
    /// When the label was added; RFC 3339.
    pub added: String,
    /// The name of the device that added it.
    pub device: String,
    /// Why its name does not open, if it does not.
    pub unreadable: Option<String>,
}

/// The labels of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelsAnswer {
    /// The folder's name.
    pub folder: String,
    /// By the moment that they mark.
    pub labels: Vec<LabelAnswer>,
}

/// How much of the past is kept: `forever`, `none`, or a number and a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionAnswer {
    /// Within it every moment.
    pub keep_all: String,
    /// Within it the last moment of each day.
    pub daily: String,
    /// Within it the last moment of each month.
    pub monthly: String,
}

/// What a folder is set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsAnswer {
    /// The folder's name.
    pub folder: String,
    /// How much of the past is kept.
    pub retention: RetentionAnswer,
    /// Whether two edits of one text are merged.
    pub merge: Merge,
    /// What is kept too while the retention is new, and until when.
    pub until: Option<UntilAnswer>,
    /// From when on every moment is there; RFC 3339. None in an empty folder.
    pub whole_since: Option<String>,
}

/// What is kept too while a retention is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntilAnswer {
    /// From when on the new one is obeyed alone; RFC 3339.
    pub time: String,
    /// The retention of before.
    pub retention: RetentionAnswer,
}

/// What retention would release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewAnswer {
    /// The folder's name.
    pub folder: String,
    /// Under which retention.
    pub retention: RetentionAnswer,
    /// Versions of names, places and contents that would go.
    pub released_versions: u64,
    /// Contents of files that would no longer be had.
    pub released_contents: u64,
    /// From when on every moment stays; RFC 3339. None in an empty folder.
    pub whole_since: Option<String>,
    /// The moments before it that stay.
    pub kept: Vec<MomentAnswer>,
}

/// A moment of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MomentAnswer {
    /// Its last revision.
    pub revision: u64,
    /// When that was accepted; RFC 3339.
    pub time: String,
}

#[cfg(test)]
mod tests {
    use super::super::answers::Answer;
    use super::*;

    #[test]
    fn answers_about_labels_are_told_from_all_others() {
        let label = LabelAnswer {
            folder: "f".into(),
            name: "n".into(),
            id: "i".into(),
            revision: 1,
            time: "t".into(),
            added: "a".into(),
            device: "d".into(),
            unreadable: None,
        };
        let windows =
            RetentionAnswer { keep_all: "30d".into(), daily: "none".into(), monthly: "x".into() };
        let answers = [
            Answer::Label(label.clone()),
            Answer::Labels(LabelsAnswer { folder: "f".into(), labels: vec![label] }),
            Answer::Labels(LabelsAnswer { folder: "f".into(), labels: vec![] }),
            Answer::Settings(SettingsAnswer {
                folder: "f".into(),
                retention: windows.clone(),
                merge: Merge::Ask,
                until: Some(UntilAnswer { time: "t".into(), retention: windows.clone() }),
                whole_since: None,
            }),
            Answer::Preview(PreviewAnswer {
                folder: "f".into(),
                retention: windows,
                released_versions: 1,
                released_contents: 2,
                whole_since: Some("w".into()),
                kept: vec![MomentAnswer { revision: 3, time: "t".into() }],
            }),
        ];
        for answer in answers {
            let line = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer, "{line}");
        }
    }
}
