//! Where the fields of an event are looked for, and where they were found.

use std::ops::Range;

use super::{DedupKey, EventSpec, FieldPath, KeyField, walk, write};

/// Which members of the top-level object are looked for, and what for.
///
/// Each of them has a slot, a number. Fields that share a member (pointers into one object) share
/// its slot.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The member's name, by slot.
    names: Vec<String>,
    pub(super) id: Place,
    pub(super) r#type: Place,
    pub(super) timestamp: Place,
    pub(super) valid: Place,
    pub(super) stream: Vec<Place>,
    /// The fields of the dedup key; none where it is id and time.
    pub(super) key: Option<Vec<KeyPlace>>,
    /// Where a reconstructed event says that it is one.
    pub(super) origin: Place,
}

impl Plan {
    pub(super) fn new(spec: &EventSpec) -> Plan {
        let mut names = Vec::new();
        let mut place = |path: &FieldPath| Place::new(path, &mut names);
        let id = place(&spec.id);
        let r#type = place(&spec.r#type);
        let timestamp = place(&spec.timestamp);
        let valid = place(&spec.valid);
        let stream = spec.stream.iter().map(&mut place).collect();
        let key = match &spec.key {
            DedupKey::IdAndTime => None,
            DedupKey::Fields(fields) => {
                let field = |field: &KeyField| match field {
                    KeyField::Id => KeyPlace::Id,
                    KeyField::Time => KeyPlace::Time,
                    KeyField::Field(path) => KeyPlace::Field(place(path)),
                };
                Some(fields.iter().map(field).collect())
            }
        };
        let origin = place(&FieldPath::Pointer(vec!["amend".into(), "origin".into()]));
        Plan {
            names,
            id,
            r#type,
            timestamp,
            valid,
            stream,
            key,
            origin,
        }
    }

    /// The slot of the member whose name is `name`.
    pub(super) fn slot(&self, name: &[u8]) -> Option<usize> {
        self.names
            .iter()
            .position(|wanted| wanted.as_bytes() == name)
    }
}

/// One field of a dedup key, as the decoder finds it.
#[derive(Clone, Debug)]
pub(super) enum KeyPlace {
    Id,
    Time,
    Field(Place),
}

/// Where to find one field.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The slot of the top-level member.
    slot: usize,
    /// The way from there, for a JSON pointer of several tokens.
    rest: Vec<String>,
    /// The name or the pointer, quoted, for messages.
    pub(super) label: String,
}

impl Place {
    fn new(path: &FieldPath, names: &mut Vec<String>) -> Place {
        let (first, rest, label) = match path {
            FieldPath::Name(name) => (name.as_str(), &[][..], name.clone()),
            FieldPath::Pointer(tokens) => {
                let escaped = tokens
                    .iter()
                    .map(|token| token.replace('~', "~0").replace('/', "~1"));
                let label = escaped.fold(String::new(), |pointer, token| pointer + "/" + &token);
                let (first, rest) = tokens
                    .split_first()
                    .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
                (first, rest, label)
            }
        };
        let known = names.iter().position(|name| name == first);
        let slot = known.unwrap_or_else(|| {
            names.push(first.to_owned());
            names.len() - 1
        });
        let mut quoted = String::new();
        write::push_json_string(&label, &mut quoted);
        Place {
            slot,
            rest: rest.to_vec(),
            label: quoted,
        }
    }

    /// The slot of its top-level member.
    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    /// Whether it is a top-level member, and not a part of one.
    pub(super) fn is_member(&self) -> bool {
        self.rest.is_empty()
    }

    /// Where the field's value lies in `record`; the empty range where there is none.
    #[inline]
    pub(super) fn find(&self, record: &str, spans: &Spans) -> Range<usize> {
        let member = spans.get(self.slot);
        if self.rest.is_empty() {
            member
        } else {
            self.find_inside(record, member)
        }
    }

    // Apart, so that the common case is small enough to become part of its callers.
    #[inline(never)]
    fn find_inside(&self, record: &str, member: Range<usize>) -> Range<usize> {
        if member.is_empty() {
            return member;
        }
        walk::descend(record, member, &self.rest).unwrap_or_default()
    }
}

/// Where the values of the members that the plan names lie in the record, by slot.
///
/// Starts and ends lie apart: a pair that was stored in halves a moment ago and is loaded as a
/// whole makes the processor wait.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    starts: Vec<usize>,
    /// No value is empty, so an empty place says that there is none.
    ends: Vec<usize>,
}

impl Spans {
    /// Places for the members of `plan`, all of them absent.
    pub(super) fn of(plan: &Plan) -> Spans {
        let slots = plan.names.len();
        Spans {
            starts: vec![0; slots],
            ends: vec![0; slots],
        }
    }

    /// Forgets the record before.
    pub(super) fn clear(&mut self) {
        self.starts.fill(0);
        self.ends.fill(0);
    }

    /// Notes a value; of a member that occurs twice the last counts.
    #[inline]
    pub(super) fn set(&mut self, slot: usize, value: Range<usize>) {
        self.starts[slot] = value.start;
        self.ends[slot] = value.end;
    }

    /// Where the value of a member lies; the empty range where there is none.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> Range<usize> {
        self.starts[slot]..self.ends[slot]
    }
}
