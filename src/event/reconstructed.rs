//! Inferred events, written after the form of the observed ones.
//!
//! All that does not change from event to event is put together once, as a template. A stream's
//! field is left out where its text is empty, so there is a template for each set of fields that
//! are written.

use super::{EventSpec, FieldPath, TimestampFormat, walk, write};
use crate::time::EventTime;

/// With up to this many stream fields, every template is made in advance.
const PREPARED_FIELDS_MAX: usize = 3;

/// Writes reconstructed events under one [`EventSpec`].
///
/// The members come in the order id, stream, type, timestamp, `valid`, and the mark of the
/// inferred. JSON pointers make nested objects and share the ones that they have in common; their
/// tokens are always names of members, digits too. Where two fields have one place the first in
/// this order is written.
#[derive(Clone, Debug)]
pub struct ReconstructedWriter {
    paths: Paths,
    format: TimestampFormat,
    stream_is_list: bool,
    /// By the set of the stream fields that are written, as a bitmap.
    prepared: Vec<Template>,
}

impl ReconstructedWriter {
    /// A writer for events as `spec` describes them; `annotate` adds the mark of the inferred.
    pub fn new(spec: &EventSpec, annotate: bool) -> Self {
        let paths = Paths::new(spec, annotate);
        let fields = paths.stream.len();
        let sets = if fields <= PREPARED_FIELDS_MAX {
            1_usize << fields
        } else {
            0
        };
        let prepared = (0..sets)
            .map(|set| paths.template(|nth| set >> nth & 1 == 1))
            .collect();
        ReconstructedWriter {
            paths,
            format: spec.timestamp_format,
            stream_is_list: spec.stream_is_list,
            prepared,
        }
    }

    /// Appends the event `id` of `stream` (a name as [`Decoded::stream`](super::Decoded) has it).
    ///
    /// ```
    /// use amend::EventTime;
    /// use amend::event::write::ReconstructedWriter;
    /// # use amend::event::{DedupKey, EventSpec, FieldPath, TimestampFormat};
    /// # let name = |name: &str| FieldPath::Name(name.to_owned());
    /// # let spec = EventSpec {
    /// #     stream: vec![name("stream")], stream_is_list: false, id: name("id"), id_text: false,
    /// #     r#type: name("type"), timestamp: name("at"),
    /// #     timestamp_format: TimestampFormat::UnixSeconds, valid: name("valid"),
    /// #     key: DedupKey::IdAndTime, max_record_bytes: 1 << 20,
    /// # };
    /// let writer = ReconstructedWriter::new(&spec, false);
    /// let mut out = Vec::new();
    /// writer.write("s1", 7, "Sale", EventTime(1_000_000), &mut out);
    /// assert_eq!(out, br#"{"id":7,"stream":"s1","type":"Sale","at":1,"valid":true}"#);
    /// ```
    pub fn write(&self, stream: &str, id: i64, r#type: &str, time: EventTime, out: &mut Vec<u8>) {
        let texts = StreamTexts {
            name: stream,
            is_list: self.stream_is_list,
        };
        let fields = self.paths.stream.len();
        let is_written = |nth| !texts.is_empty(nth);
        let made;
        let set = (0..fields.min(PREPARED_FIELDS_MAX))
            .fold(0, |set, nth| set | usize::from(is_written(nth)) << nth);
        let template = match self.prepared.get(set) {
            Some(template) => template,
            None => {
                made = self.paths.template(is_written);
                &made
            }
        };
        for piece in &template.0 {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Value(Field::Id) => out.extend_from_slice(id.to_string().as_bytes()),
                Piece::Value(Field::Stream(nth)) => texts.write(*nth, out),
                Piece::Value(Field::Type) => write::write_json_string(r#type, out),
                Piece::Value(Field::Time) => self.format.write_json(time, out),
                Piece::Value(Field::Valid) => out.extend_from_slice(b"true"),
                Piece::Value(Field::Origin) => out.extend_from_slice(b"\"reconstructed\""),
            }
        }
    }
}

/// The texts of a stream's fields, from its name.
struct StreamTexts<'a> {
    name: &'a str,
    is_list: bool,
}

impl<'a> StreamTexts<'a> {
    /// The text of one field of a list as the name has it, in quotes.
    fn quoted(&self, nth: usize) -> &'a str {
        walk::elements(self.name, 0)
            .nth(nth)
            .map_or("\"\"", |text| walk::slice(self.name, &text))
    }

    fn is_empty(&self, nth: usize) -> bool {
        if self.is_list {
            self.quoted(nth) == "\"\""
        } else {
            self.name.is_empty()
        }
    }

    fn write(&self, nth: usize, out: &mut Vec<u8>) {
        if self.is_list {
            out.extend_from_slice(self.quoted(nth).as_bytes());
        } else {
            write::write_json_string(self.name, out);
        }
    }
}

/// What changes from event to event, and what is written in the same way.
#[derive(Clone, Copy, Debug)]
enum Field {
    Id,
    Stream(usize),
    Type,
    Time,
    Valid,
    Origin,
}

/// Where each field goes.
#[derive(Clone, Debug)]
struct Paths {
    id: Vec<String>,
    stream: Vec<Vec<String>>,
    others: Vec<(Vec<String>, Field)>,
}

impl Paths {
    fn new(spec: &EventSpec, annotate: bool) -> Paths {
        let tokens = |path: &FieldPath| match path {
            FieldPath::Name(name) => vec![name.clone()],
            FieldPath::Pointer(tokens) => tokens.clone(),
        };
        let mut others = vec![
            (tokens(&spec.r#type), Field::Type),
            (tokens(&spec.timestamp), Field::Time),
            (tokens(&spec.valid), Field::Valid),
        ];
        if annotate {
            others.push((vec!["amend".into(), "origin".into()], Field::Origin));
        }
        Paths {
            id: tokens(&spec.id),
            stream: spec.stream.iter().map(tokens).collect(),
            others,
        }
    }

    /// The form of the events in which these fields of the stream are written.
    fn template(&self, is_written: impl Fn(usize) -> bool) -> Template {
        let mut event = Object::default();
        event.add(&self.id, Field::Id);
        for (nth, path) in self.stream.iter().enumerate() {
            if is_written(nth) {
                event.add(path, Field::Stream(nth));
            }
        }
        for (path, field) in &self.others {
            event.add(path, *field);
        }
        let mut template = Template::default();
        template.push_object(&event);
        template
    }
}

/// An object of the event that is being laid out; its members in the order of their coming.
#[derive(Default)]
struct Object(Vec<(String, Node)>);

enum Node {
    Leaf(Field),
    Object(Object),
}

impl Object {
    /// Adds a field, unless its place is taken.
    fn add(&mut self, path: &[String], field: Field) {
        let Some((name, rest)) = path.split_first() else {
            return;
        };
        let known = self.0.iter().position(|(member, _)| member == name);
        match known.map(|nth| &mut self.0[nth].1) {
            Some(Node::Object(object)) => object.add(rest, field),
            Some(Node::Leaf(_)) => {}
            None if rest.is_empty() => self.0.push((name.clone(), Node::Leaf(field))),
            None => {
                let mut object = Object::default();
                object.add(rest, field);
                self.0.push((name.clone(), Node::Object(object)));
            }
        }
    }
}

/// An event with holes for the fields.
#[derive(Clone, Debug, Default)]
struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Value(Field),
}

impl Template {
    fn push_object(&mut self, object: &Object) {
        self.bytes().push(b'{');
        for (nth, (name, node)) in object.0.iter().enumerate() {
            if nth > 0 {
                self.bytes().push(b',');
            }
            write::write_json_string(name, self.bytes());
            self.bytes().push(b':');
            match node {
                Node::Leaf(field) => self.0.push(Piece::Value(*field)),
                Node::Object(object) => self.push_object(object),
            }
        }
        self.bytes().push(b'}');
    }

    /// The bytes that the template ends with.
    fn bytes(&mut self) -> &mut Vec<u8> {
        if !matches!(self.0.last(), Some(Piece::Bytes(_))) {
            self.0.push(Piece::Bytes(Vec::new()));
        }
        match self.0.last_mut() {
            Some(Piece::Bytes(bytes)) => bytes,
            _ => unreachable!("bytes were just put at the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Decoder;
    use crate::event::oracle::specs;

    fn path(path: &str) -> FieldPath {
        match path.strip_prefix('/') {
            Some(pointer) => FieldPath::Pointer(pointer.split('/').map(str::to_owned).collect()),
            None => FieldPath::Name(path.to_owned()),
        }
    }

    /// The event 7 of type `T` at one second, with the fields id, type, timestamp, `valid` and
    /// then the stream's at these paths. What is written must be read back.
    #[track_caller]
    fn check(paths: [&str; 4], fields: &[&str], is_list: bool, stream: &str, expected: &str) {
        let spec = EventSpec {
            id: path(paths[0]),
            r#type: path(paths[1]),
            timestamp: path(paths[2]),
            valid: path(paths[3]),
            stream: fields.iter().map(|field| path(field)).collect(),
            stream_is_list: is_list,
            ..specs()[0].clone()
        };
        let mut out = Vec::new();
        let time = EventTime(1_000_000);
        ReconstructedWriter::new(&spec, false).write(stream, 7, "T", time, &mut out);
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        let mut decoder = Decoder::new(spec.clone());
        let event = decoder.decode(&out).unwrap();
        assert_eq!((event.id, event.r#type, event.time), (7, "T", time));
        assert_eq!((event.stream, event.valid), (stream, Some(true)));

        out.clear();
        ReconstructedWriter::new(&spec, true).write(stream, 7, "T", time, &mut out);
        let marked = expected.strip_suffix('}').unwrap().to_owned()
            + r#","amend":{"origin":"reconstructed"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), marked);
    }

    const NAMES: [&str; 4] = ["id", "type", "at", "valid"];

    #[test]
    fn one_stream_field() {
        let rest = r#""type":"T","at":"1970-01-01T00:00:01Z","valid":true}"#;
        check(NAMES, &[], false, "", &format!(r#"{{"id":7,{rest}"#));
        check(NAMES, &["s"], false, "", &format!(r#"{{"id":7,{rest}"#));
        check(
            NAMES,
            &["s"],
            false,
            "a\"b",
            &format!(r#"{{"id":7,"s":"a\"b",{rest}"#),
        );
        check(
            NAMES,
            &["s"],
            false,
            "[1]",
            &format!(r#"{{"id":7,"s":"[1]",{rest}"#),
        );
        check(
            NAMES,
            &["s"],
            true,
            r#"["a"]"#,
            &format!(r#"{{"id":7,"s":"a",{rest}"#),
        );
    }

    #[test]
    fn several_stream_fields() {
        let rest = r#""type":"T","at":"1970-01-01T00:00:01Z","valid":true}"#;
        let of = |fields: &[&str], name: &str, written: &str| {
            check(
                NAMES,
                fields,
                true,
                name,
                &format!(r#"{{"id":7{written},{rest}"#),
            );
        };
        of(&["a", "b"], r#"["x","7"]"#, r#","a":"x","b":"7""#);
        of(&["a", "b"], r#"["","\"],"]"#, r#","b":"\"],""#);
        of(&["a", "b"], r#"["",""]"#, "");
        of(
            &["a", "b", "c", "d"],
            r#"["1","2","3","4"]"#,
            r#","a":"1","b":"2","c":"3","d":"4""#,
        );
        of(&["a", "b", "c", "d"], r#"["","","","x"]"#, r#","d":"x""#);
    }

    #[test]
    fn pointers_share_their_parents() {
        let expected = r#"{"m":{"id":7,"s":{"0":"x"},"at":"1970-01-01T00:00:01Z"},"type":"T","f":{"valid":true}}"#;
        check(
            ["/m/id", "type", "/m/at", "/f/valid"],
            &["/m/s/0"],
            false,
            "x",
            expected,
        );
        let expected =
            r#"{"m":{"id":7,"at":"1970-01-01T00:00:01Z"},"type":"T","f":{"valid":true}}"#;
        check(
            ["/m/id", "type", "/m/at", "/f/valid"],
            &["/m/s/0"],
            false,
            "",
            expected,
        );
    }

    #[test]
    fn a_taken_place_stays_taken() {
        let mut spec = specs()[0].clone();
        spec.stream = vec![path("type")];
        spec.valid = path("/event_id/valid");
        let mut out = Vec::new();
        ReconstructedWriter::new(&spec, true).write("s", 1, "T", EventTime(0), &mut out);
        let expected = r#"{"event_id":1,"type":"s","timestamp":"1970-01-01T00:00:00Z","amend":{"origin":"reconstructed"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
