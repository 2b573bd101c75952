//! The outbox: groups that were or may have been sent, and what their acceptance means here.
//!
//! A row is durable before its group is sent (rule 7), and stays until its outcome is known: before
//! that nothing more is planned.

use super::{FolderState, StateError, row};
use client_core::tree::{ContentState, Position};
use common::ids::{ContentTag, EntryId, Signature};
use common::name::Name;
use common::record::{Kind, SignedGroup};
use prost::Message;
use rusqlite::params;

/// What the synced tree becomes when a group is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The entry was created or brought back here with this content.
    Placed {
        /// Which entry.
        entry: EntryId,
        /// What it is.
        kind: Kind,
        /// Where.
        at: Position,
        /// With what.
        content: ContentState,
    },
    /// The entry has this content.
    Edited {
        /// Which entry.
        entry: EntryId,
        /// With what.
        content: ContentState,
    },
    /// The entry is there.
    Moved {
        /// Which entry.
        entry: EntryId,
        /// Where.
        to: Position,
    },
    /// The entry was brought back there, with the content that it had at the server.
    Revived {
        /// Which entry.
        entry: EntryId,
        /// Where.
        at: Position,
    },
    /// The entry is gone.
    Deleted {
        /// Which entry.
        entry: EntryId,
    },
    /// The local node `local` is `copy` from now on.
    Copied {
        /// The local node's id until then.
        local: EntryId,
        /// Its id from then on.
        copy: EntryId,
        /// What it is.
        kind: Kind,
        /// Where it stood locally.
        from: Position,
        /// With what.
        content: ContentState,
        /// The entry that keeps the name.
        entry: EntryId,
    },
}

impl Effect {
    /// The entry as it is known here until then.
    #[must_use]
    pub fn entry(&self) -> EntryId {
        match self {
            Self::Placed { entry, .. }
            | Self::Edited { entry, .. }
            | Self::Moved { entry, .. }
            | Self::Revived { entry, .. }
            | Self::Deleted { entry }
            | Self::Copied { local: entry, .. } => *entry,
        }
    }
}

/// A stored group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Counter of its request id.
    pub counter: u64,
    /// As it is or was sent.
    pub group: SignedGroup,
    /// What its acceptance means here.
    pub effects: Vec<Effect>,
}

#[derive(Clone, PartialEq, Message)]
struct EffectMessage {
    #[prost(uint32, tag = "1")]
    what: u32,
    #[prost(bytes = "vec", tag = "2")]
    entry: Vec<u8>,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(bytes = "vec", tag = "6")]
    tag: Vec<u8>,
    #[prost(uint32, tag = "7")]
    mode: u32,
    #[prost(int64, tag = "8")]
    mtime_ns: i64,
    #[prost(bytes = "vec", tag = "9")]
    copy: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    original: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct EffectsMessage {
    #[prost(message, repeated, tag = "1")]
    effects: Vec<EffectMessage>,
}

impl EffectMessage {
    fn of(what: u32, entry: &EntryId) -> Self {
        Self { what, entry: entry.to_vec(), ..Self::default() }
    }

    fn at(mut self, position: &Position) -> Self {
        self.parent = position.parent.to_vec();
        self.name = position.name.as_str().to_owned();
        self
    }

    fn with(mut self, content: &ContentState) -> Self {
        self.tag = content.tag.to_vec();
        self.mode = u32::from(content.mode);
        self.mtime_ns = content.mtime_ns;
        self
    }

    fn position(&self) -> Option<Position> {
        Some(Position {
            parent: EntryId::from_slice(&self.parent).ok()?,
            name: Name::new(self.name.clone()).ok()?,
        })
    }

    fn content(&self) -> Option<ContentState> {
        Some(ContentState {
            tag: ContentTag::from_slice(&self.tag).ok()?,
            mode: u16::try_from(self.mode).ok()?,
            mtime_ns: self.mtime_ns,
        })
    }
}

fn message(effect: &Effect) -> EffectMessage {
    match effect {
        Effect::Placed { entry, kind, at, content } => {
            let mut message = EffectMessage::of(1, entry).at(at).with(content);
            message.kind = kind.code();
            message
        }
        Effect::Edited { entry, content } => EffectMessage::of(2, entry).with(content),
        Effect::Moved { entry, to } => EffectMessage::of(3, entry).at(to),
        Effect::Deleted { entry } => EffectMessage::of(4, entry),
        Effect::Copied { local, copy, kind, from, content, entry } => {
            let mut message = EffectMessage::of(5, local).at(from).with(content);
            message.kind = kind.code();
            message.copy = copy.to_vec();
            message.original = entry.to_vec();
            message
        }
        Effect::Revived { entry, at } => EffectMessage::of(6, entry).at(at),
    }
}

fn effect(message: &EffectMessage) -> Option<Effect> {
    let entry = EntryId::from_slice(&message.entry).ok()?;
    Some(match message.what {
        1 => Effect::Placed {
            entry,
            kind: Kind::from_code(message.kind)?,
            at: message.position()?,
            content: message.content()?,
        },
        2 => Effect::Edited { entry, content: message.content()? },
        3 => Effect::Moved { entry, to: message.position()? },
        4 => Effect::Deleted { entry },
        5 => Effect::Copied {
            local: entry,
            copy: EntryId::from_slice(&message.copy).ok()?,
            kind: Kind::from_code(message.kind)?,
            from: message.position()?,
            content: message.content()?,
            entry: EntryId::from_slice(&message.original).ok()?,
        },
        6 => Effect::Revived { entry, at: message.position()? },
        _ => return None,
    })
}

impl FolderState {
    /// Stores a group that is about to be sent.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_outbox(&self, outbox: &OutboxRow) -> Result<(), StateError> {
        let effects = EffectsMessage { effects: outbox.effects.iter().map(message).collect() };
        self.execute(
            "INSERT INTO outbox (counter, body, signature, effects) VALUES (?1, ?2, ?3, ?4)",
            params![
                row::signed(outbox.counter),
                outbox.group.body,
                outbox.group.signature.as_bytes().as_slice(),
                effects.encode_to_vec(),
            ],
        )?;
        Ok(())
    }

    /// All groups whose outcome is not known, oldest first.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn outbox(&self) -> Result<Vec<OutboxRow>, StateError> {
        let rows = self.all(
            "SELECT counter, body, signature, effects FROM outbox ORDER BY counter",
            [],
            |row| {
                let signature: Signature = row::signature(row, 2)?;
                let effects: Vec<u8> = row.get(3)?;
                let group = SignedGroup { body: row.get(1)?, signature };
                Ok((row::unsigned(row, 0)?, group, effects))
            },
        )?;
        let bad = || StateError::Corrupt { what: "outbox" };
        rows.into_iter()
            .map(|(counter, group, effects)| {
                let message = EffectsMessage::decode(effects.as_slice()).map_err(|_| bad())?;
                let effects = message.effects.iter().map(effect).collect::<Option<_>>();
                Ok(OutboxRow { counter, group, effects: effects.ok_or_else(bad)? })
            })
            .collect()
    }

    /// Removes a group whose outcome is known.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_outbox(&self, counter: u64) -> Result<(), StateError> {
        self.execute("DELETE FROM outbox WHERE counter = ?1", [row::signed(counter)])?;
        Ok(())
    }

    /// Removes all groups: the journal is taken anew, and will not bring those back that it has.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear_outbox(&self) -> Result<(), StateError> {
        self.execute("DELETE FROM outbox", [])?;
        Ok(())
    }
}
