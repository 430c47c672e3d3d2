//! Elements set aside: what could not be read, processed or placed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// Why an element was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// A record could not be decoded.
    Undecodable,
    /// A step failed on it.
    Failed,
    /// It came after its window had expired.
    Late,
    /// It came after the trigger of its window was finished.
    Closed,
}

impl Refusal {
    /// The name, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Undecodable => "undecodable",
            Refusal::Failed => "failed",
            Refusal::Late => "late",
            Refusal::Closed => "closed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An element set aside, for a person or a rule to decide about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The step that set it aside.
    pub step: String,
    /// Why, in a word.
    pub reason: Refusal,
    /// Why, in a sentence.
    pub detail: String,
    /// When it happened, where that is known.
    pub event_time: Option<EventTime>,
    /// The element as JSON, or the record's own text.
    pub element: String,
}

impl DeadLetter {
    /// A letter about `element`, which is written as JSON.
    pub fn about<T: Serialize + fmt::Debug>(
        step: &str,
        reason: Refusal,
        detail: String,
        event_time: EventTime,
        element: &T,
    ) -> Self {
        // JSON has no maps with keys that are not text; such an element is shown as Rust does.
        let element = serde_json::to_string(element).unwrap_or_else(|_| format!("{element:?}"));
        DeadLetter {
            step: step.to_owned(),
            reason,
            detail,
            event_time: Some(event_time),
            element,
        }
    }
}
