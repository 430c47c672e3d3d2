//! Any record, by `serde_json`: what it refuses is not JSON.
//!
//! The whole text is visited as if a `serde_json::Value` were built from it, because skipping
//! (`IgnoredAny`) lets lone surrogates and numbers out of range pass. Only nesting is counted here:
//! the parser's own limit would stop one level early. The members are then found in text that is
//! known to be valid.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::judge::quote;
use super::plan::{Plan, Spans};
use super::{Fault, Reason, walk};

/// How many arrays and objects may lie in each other.
const NESTING_MAX: u32 = 128;

/// Finds the members that `plan` names.
///
/// # Errors
/// `not-json` or `not-object`.
pub(super) fn find(record: &str, plan: &Plan, spans: &mut Spans) -> Result<(), Fault> {
    validate(record).map_err(|error| Fault {
        reason: Reason::NotJson,
        detail: error.to_string(),
    })?;
    let start = walk::skip_space(record.as_bytes(), 0);
    if record.as_bytes().get(start) != Some(&b'{') {
        let end = walk::value_end(record.as_bytes(), start);
        let detail = format!(
            "{} is not an object",
            quote(walk::slice(record, &(start..end)))
        );
        return Err(Fault {
            reason: Reason::NotObject,
            detail,
        });
    }
    spans.clear();
    for (key, value) in walk::members(record, start) {
        if let Some(slot) = plan.slot(walk::unquote(walk::slice(record, &key)).as_bytes()) {
            spans.set(slot, value);
        }
    }
    Ok(())
}

fn validate(record: &str) -> serde_json::Result<()> {
    let mut parser = serde_json::Deserializer::from_str(record);
    parser.disable_recursion_limit();
    Check {
        levels_left: NESTING_MAX,
    }
    .deserialize(&mut parser)?;
    parser.end()
}

/// Visits a value for the sake of its errors.
#[derive(Clone, Copy)]
struct Check {
    levels_left: u32,
}

impl Check {
    fn enter<E: serde::de::Error>(self) -> Result<Check, E> {
        let levels_left = self.levels_left.checked_sub(1);
        levels_left
            .map(|levels_left| Check { levels_left })
            .ok_or_else(|| {
                E::custom(format_args!(
                    "more than {NESTING_MAX} arrays and objects in each other"
                ))
            })
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inner = self.enter::<A::Error>()?;
        while elements.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.enter::<A::Error>()?;
        while members.next_key_seed(inner)?.is_some() {
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}
