//! One row as something that can be asked.

use crate::{
    judge::Judge,
    row::{ROWS, Row},
    stop::Step,
};

/// On which wire a case makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// On HTTP/1.1 and on HTTP/2.
    Any,
    /// It is about the framing of HTTP/1, or needs it to be said.
    Http1,
}

/// What may happen at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Other cases, on the same server or on others.
    Others,
    /// Nothing: it needs the machine's attention, or measures time.
    Nothing,
}

/// One row as something that can be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// The id of its row.
    pub(crate) id: &'static str,
    /// Asks, and says what the answers come to.
    pub(crate) run: fn(&Judge<'_>) -> Step,
    /// The sentence that a server breaks which fails here: of tus 1.0.0, of an RFC, or our reason.
    /// Empty where the row's own words have to do.
    pub(crate) sentence: &'static str,
    pub(crate) wire: Wire,
    pub(crate) beside: Beside,
}

/// A case that asks on any wire, beside others.
pub(crate) const fn case(id: &'static str, run: fn(&Judge<'_>) -> Step) -> Case {
    Case { id, run, sentence: "", wire: Wire::Any, beside: Beside::Others }
}

impl Case {
    /// The sentence that is broken by who fails, as it stands in its source.
    pub(crate) const fn says(mut self, sentence: &'static str) -> Self {
        self.sentence = sentence;
        self
    }

    /// It is about the framing of HTTP/1, or needs it to be said.
    pub(crate) const fn http1(mut self) -> Self {
        self.wire = Wire::Http1;
        self
    }

    /// Nothing else may run beside it.
    pub(crate) const fn alone(mut self) -> Self {
        self.beside = Beside::Nothing;
        self
    }

    /// Its row; a test makes sure that it has one.
    pub(crate) fn row(&self) -> &'static Row {
        ROWS.get(self.id).unwrap_or_else(|| panic!("there is no row {}", self.id))
    }

    /// The kind of its row: the id without the number.
    pub(crate) fn area(&self) -> &'static str {
        self.id.rsplit_once('-').map_or(self.id, |(area, _)| area)
    }

    /// The extension of tus 1.0.0 without which a server need not be asked.
    pub(crate) fn extension(&self) -> Option<&'static str> {
        Some(match self.area() {
            "TUS-CREATE" | "TUS-META" => "creation",
            "TUS-CWU" => "creation-with-upload",
            "TUS-DEFER" => "creation-defer-length",
            "TUS-CHK" => "checksum",
            "TUS-TRL" => "checksum-trailer",
            "TUS-EXP" => "expiration",
            "TUS-TERM" => "termination",
            "TUS-CAT" => "concatenation",
            "TUS-CATU" => "concatenation-unfinished",
            _ => return None,
        })
    }
}
