//! Notes of what finished files are, so that a client which has the same file need not send it.
//!
//! A note is a hint that follows the facts: it is made when a file is finished, and goes before the
//! file does. One that is missing is made up for by the next thorough sweep; a failure here is
//! logged and harms nobody.

use super::{Held, HoldError, Holds};
use crate::{
    state::StateError,
    upload::{Content, Record, UploadId},
};

/// Whether finished files are noted by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// They are (`--instant`).
    Noted,
    /// They are not. Older notes go with their files all the same.
    Unnoted,
}

impl Holds {
    /// Finished uploads that have this content, as far as that is noted and still true; the last
    /// one that was noted first. Blocks.
    pub fn holders(&self, content: &Content) -> Result<Vec<UploadId>, HoldError> {
        if self.options.contents == Contents::Unnoted {
            return Ok(Vec::new());
        }
        let noted = self.state.holders(&self.state.secret().content(content))?;
        let mut holders = Vec::new();
        for id in noted {
            match self.look(&id) {
                Ok(look) if look.current.record.content().as_ref() == Some(content) => {
                    holders.push(id);
                }
                // Another version of piton, which can read it, notes it anew.
                Ok(_)
                | Err(
                    HoldError::Unknown
                    | HoldError::Expired
                    | HoldError::Damaged(_)
                    | HoldError::Newer(_),
                ) => {
                    self.disbelieve(content, &id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(holders)
    }

    /// An upload was found not to hold a content that it was noted for: its file was removed or
    /// changed by somebody else. Blocks.
    pub fn disbelieve(&self, content: &Content, id: &UploadId) {
        let key = self.state.secret().content(content);
        report(id, self.state.drop_holder(&key, id));
    }

    /// Facts were added: is there a finished file now, or none any more?
    pub(super) fn content_changed(&self, before: &Record, now: &Record) {
        if now.content().is_some() == before.content().is_some() {
            return;
        }
        self.note(now);
        if now.content().is_none() {
            self.forget_content(before);
        }
    }

    /// The file is about to go.
    pub(super) fn forget_content(&self, record: &Record) {
        if let Some(content) = record.content() {
            self.disbelieve(&content, &record.manifest().id);
        }
    }

    fn note(&self, record: &Record) {
        let wanted = self.options.contents == Contents::Noted;
        if let Some(content) = record.content().filter(|_| wanted) {
            let (key, id) = (self.state.secret().content(&content), &record.manifest().id);
            report(id, self.state.note_holder(&key, id));
        }
    }

    fn is_noted(&self, record: &Record) -> bool {
        let noted = |content| self.state.holders(&self.state.secret().content(&content));
        record.content().is_none_or(|content| noted(content).is_ok_and(|found| !found.is_empty()))
    }
}

impl Held {
    /// Makes up for a note that was lost, or never made.
    pub fn note_content(&self) {
        if self.holds().options().contents == Contents::Noted
            && !self.holds().is_noted(self.record())
        {
            self.holds().note(self.record());
        }
    }
}

fn report(id: &UploadId, noted: Result<(), StateError>) {
    if let Err(error) = noted {
        tracing::warn!(%id, %error, "could not note what a finished file is");
    }
}
