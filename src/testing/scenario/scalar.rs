//! The keys and values of a scenario about windows: whatever YAML writes as one word.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use ordered_float::OrderedFloat;
use serde::{Deserialize, Serialize};

use super::error;
use crate::Result;
use crate::prelude::{F64, Summand};
use crate::repair::spec::tree::{Node, Value};

/// A key or a value. Numbers are ordered by size, whatever their kind, and before all else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Scalar {
    Int(i64),
    Float(F64),
    Bool(bool),
    Text(String),
}

impl Scalar {
    /// The scalar that `node` is; `what` names it in messages.
    pub(super) fn read(node: &Node, what: &str) -> Result<Scalar> {
        match &node.value {
            Value::Integer(number, text) => {
                let number = number.and_then(|number| i64::try_from(number).ok());
                number.map(Scalar::Int).ok_or_else(|| {
                    error(node, format_args!("{what} {text} is out of range"))
                        .with_hint("integers have 64 bits; write a longer one as text, in quotes")
                })
            }
            Value::Float(number, _) => Ok(Scalar::Float(OrderedFloat(*number))),
            Value::Bool(value) => Ok(Scalar::Bool(*value)),
            Value::Text(text) => Ok(Scalar::Text(text.clone())),
            value => Err(error(node, format_args!("{what} is {}", value.kind()))
                .with_hint("a number, text, true or false")),
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Scalar::Int(_) | Scalar::Float(_))
    }

    /// Whether the two mean the same: a number may be written with or without a point.
    pub(super) fn means(&self, other: &Scalar) -> bool {
        match (self, other) {
            (Scalar::Int(int), Scalar::Float(float)) | (Scalar::Float(float), Scalar::Int(int)) => {
                OrderedFloat(*int as f64) == *float
            }
            _ => self == other,
        }
    }

    /// What the order goes by, before the integers themselves.
    fn rank(&self) -> (u8, F64, &str) {
        match self {
            Scalar::Int(int) => (0, OrderedFloat(*int as f64), ""),
            Scalar::Float(float) => (0, *float, ""),
            Scalar::Bool(value) => (1, OrderedFloat(f64::from(u8::from(*value))), ""),
            Scalar::Text(text) => (2, OrderedFloat(0.0), text),
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        let of_equal_rank = || match (self, other) {
            (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
            (Scalar::Int(_), Scalar::Float(_)) => Ordering::Less,
            (Scalar::Float(_), Scalar::Int(_)) => Ordering::Greater,
            _ => Ordering::Equal,
        };
        self.rank().cmp(&other.rank()).then_with(of_equal_rank)
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As it may be written in a scenario file.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Int(int) => write!(f, "{int}"),
            Scalar::Float(float) => write!(f, "{:?}", float.0),
            Scalar::Bool(value) => write!(f, "{value}"),
            Scalar::Text(text) => {
                let is_plain = text.chars().all(|c| c.is_alphanumeric() || c == '_')
                    && text.starts_with(char::is_alphabetic)
                    && !matches!(text.as_str(), "true" | "false" | "null");
                if is_plain {
                    f.write_str(text)
                } else {
                    write!(f, "{text:?}")
                }
            }
        }
    }
}

/// The sum of integers and that of the rest, each exact.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    ints: i128,
    floats: BTreeMap<F64, isize>,
}

/// A sum of integers is an integer. What is no number adds nothing; the reader refuses it.
impl Summand for Scalar {
    type Exact = Total;

    fn add_to(&self, sum: &mut Total, times: isize) {
        match self {
            Scalar::Int(int) => int.add_to(&mut sum.ints, times),
            Scalar::Float(float) => float.add_to(&mut sum.floats, times),
            Scalar::Bool(_) | Scalar::Text(_) => {}
        }
    }

    fn merge(sum: &mut Total, other: Total) {
        <i64 as Summand>::merge(&mut sum.ints, other.ints);
        <F64 as Summand>::merge(&mut sum.floats, other.floats);
    }

    fn total(sum: &Total) -> Self {
        if sum.floats.is_empty() {
            return Scalar::Int(i64::total(&sum.ints));
        }
        let floats = F64::total(&sum.floats);
        Scalar::Float(OrderedFloat(floats.0 + sum.ints as f64))
    }

    fn mean(sum: &Total, count: u64) -> f64 {
        if sum.floats.is_empty() {
            return i64::mean(&sum.ints, count);
        }
        (F64::total(&sum.floats).0 + sum.ints as f64) / count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(number: f64) -> Scalar {
        Scalar::Float(OrderedFloat(number))
    }

    #[test]
    fn numbers_are_ordered_by_size() {
        let text = |text: &str| Scalar::Text(text.to_owned());
        let ordered = [
            Scalar::Int(i64::MIN),
            float(-0.5),
            Scalar::Int(0),
            float(0.0),
            Scalar::Int(i64::MAX - 1),
            Scalar::Int(i64::MAX),
            float(i64::MAX as f64),
            float(f64::NAN),
            Scalar::Bool(false),
            Scalar::Bool(true),
            text(""),
            text("a"),
        ];
        for (at, a) in ordered.iter().enumerate() {
            for (bt, b) in ordered.iter().enumerate() {
                assert_eq!(a.cmp(b), at.cmp(&bt), "{a} and {b}");
            }
        }
        assert!(Scalar::Int(2).means(&float(2.0)) && !Scalar::Int(2).means(&float(2.5)));
    }

    #[test]
    fn sums_of_integers_are_integers() {
        let sum = |values: &[Scalar]| {
            let mut sum = Total::default();
            for value in values {
                value.add_to(&mut sum, 1);
            }
            Scalar::total(&sum)
        };
        assert_eq!(sum(&[Scalar::Int(1), Scalar::Int(2)]), Scalar::Int(3));
        assert_eq!(sum(&[Scalar::Int(1), float(0.5)]), float(1.5));
        let mut sum = Total::default();
        Scalar::Int(3).add_to(&mut sum, 1);
        float(0.5).add_to(&mut sum, 1);
        float(0.5).add_to(&mut sum, -1);
        assert_eq!(Scalar::total(&sum), Scalar::Int(3));
    }

    #[test]
    fn scalars_are_shown_as_they_are_written() {
        let shown = |text: &str| Scalar::Text(text.to_owned()).to_string();
        assert_eq!(
            [shown("ann"), shown("true"), shown("1"), shown("a b")],
            ["ann", "\"true\"", "\"1\"", "\"a b\""]
        );
        assert_eq!(float(2.0).to_string(), "2.0");
    }
}
