//! A JSON reader for the model and the checks.
//!
//! It keeps the members of an object in their order, repeated ones too, and numbers as they were
//! written, and it takes exactly what the contract calls JSON: UTF-8, no lone surrogates, at most
//! 128 levels. It owes nothing to the reader that it is meant to judge.

use std::collections::BTreeMap;

/// The deepest nesting that a record may have.
const LEVELS: usize = 128;

/// A JSON value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text that is one JSON value, with white space around it or not.
    pub(crate) fn read(bytes: &[u8]) -> Option<Json> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        (reader.at == text.len()).then_some(value)
    }

    /// The member `name`; of several, the last.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value that a field path leads to: a member's name, or a JSON pointer.
    pub(crate) fn find(&self, path: &str) -> Option<&Json> {
        let Some(pointer) = path.strip_prefix('/') else {
            return self.get(path);
        };
        pointer
            .split('/')
            .try_fold(self, |value, token| match value {
                Json::List(items) => {
                    let plain = token == "0" || !token.starts_with(['0', '+']);
                    items.get(token.parse::<usize>().ok().filter(|_| plain)?)
                }
                _ => value.get(&token.replace("~1", "/").replace("~0", "~")),
            })
    }

    /// The integer of a number that is written as one.
    pub(crate) fn integer(&self) -> Option<i128> {
        match self {
            Json::Number(text) if !text.contains(['.', 'e', 'E']) => text.parse().ok(),
            _ => None,
        }
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text that two values share exactly when they are the same value: the order of members
    /// and the way of writing do not matter, of repeated members the last counts, and `1` is not
    /// `1.0`.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Json::Null => "null".into(),
            Json::Bool(value) => value.to_string(),
            Json::Number(text) if text == "-0" => "0".into(),
            Json::Number(text) => match text.parse::<f64>() {
                Ok(float) if text.contains(['.', 'e', 'E']) && float.is_finite() => {
                    format!("{float:?}f")
                }
                _ => text.clone(),
            },
            Json::Text(text) => quoted(text),
            Json::List(items) => {
                let items: Vec<String> = items.iter().map(Json::canonical).collect();
                format!("[{}]", items.join(","))
            }
            Json::Object(members) => {
                let last: BTreeMap<&str, &Json> = members
                    .iter()
                    .map(|(key, value)| (key.as_str(), value))
                    .collect();
                let members: Vec<String> = last
                    .iter()
                    .map(|(key, value)| format!("{}:{}", quoted(key), value.canonical()))
                    .collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, expected: &str) -> Option<()> {
        self.text[self.at..]
            .starts_with(expected)
            .then(|| self.at += expected.len())
    }

    /// Skips white space, then takes `expected`.
    fn mark(&mut self, expected: &str) -> Option<()> {
        self.space();
        self.take(expected)
    }

    fn value(&mut self, above: usize) -> Option<Json> {
        self.space();
        match self.peek()? {
            b'n' => self.take("null").map(|()| Json::Null),
            b't' => self.take("true").map(|()| Json::Bool(true)),
            b'f' => self.take("false").map(|()| Json::Bool(false)),
            b'"' => self.string().map(Json::Text),
            b'[' | b'{' if above == LEVELS => None,
            b'[' => self.list(above + 1),
            b'{' => self.object(above + 1),
            _ => self.number(),
        }
    }

    fn list(&mut self, level: usize) -> Option<Json> {
        self.take("[")?;
        let mut items = Vec::new();
        if self.mark("]").is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(level)?);
            if self.mark("]").is_some() {
                return Some(Json::List(items));
            }
            self.take(",")?;
        }
    }

    fn object(&mut self, level: usize) -> Option<Json> {
        self.take("{")?;
        let mut members = Vec::new();
        if self.mark("}").is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.mark(":")?;
            members.push((key, self.value(level)?));
            if self.mark("}").is_some() {
                return Some(Json::Object(members));
            }
            self.take(",")?;
        }
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn number(&mut self) -> Option<Json> {
        let from = self.at;
        let _ = self.take("-");
        if self.take("0").is_none() {
            self.digits()?;
        }
        if self.take(".").is_some() {
            self.digits()?;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _ = self.take("+").or_else(|| self.take("-"));
            self.digits()?;
        }
        Some(Json::Number(self.text[from..self.at].into()))
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut out = String::new();
        loop {
            let c = self.text[self.at..].chars().next()?;
            self.at += c.len_utf8();
            match c {
                '"' => return Some(out),
                '\\' => out.push(self.escaped()?),
                c if c < ' ' => return None,
                c => out.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(match c {
            b'"' | b'\\' | b'/' => char::from(c),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                self.take("\\u")?;
                let second = self.hex().filter(|unit| (0xdc00..0xe000).contains(unit))?;
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| plain)
    }
}

/// serde_json takes and refuses the same texts; where it does not, the contract says which is right.
#[test]
fn json_reads_what_serde_json_reads() {
    let texts = r#"
        {}  []  null  true  false  0  -0  1.5  1e3  -1E-3  ""  "a"
        {"a":1,"a":2}  [1,2,{"b":null}]  "\u00e9\ud83d\ude00\n\"\/"  { "a" : [ ] }
        nul  tru  01  1.  .5  +1  1e  -  --1  NaN  Infinity  'a'  "  "\x"  "\u12"  "\u+123"
        "\ud800"  "\udc00"  "\ud800\u0041"  {  }  [1,]  {"a":1,}  {"a"}  {a:1}  [1  [1]]  {}{}  1,2
    "#;
    let shortest = texts
        .split("  ")
        .map(str::trim)
        .filter(|text| !text.is_empty());
    for text in shortest.chain([" { \"a\" : 1 } ", "\t[ ]\r", "\"\t\"", "\u{feff}{}", "1 2"]) {
        let theirs = serde_json::from_str::<serde_json::Value>(text).is_ok();
        assert_eq!(Json::read(text.as_bytes()).is_some(), theirs, "{text}");
    }
    assert_eq!(Json::read(b"{\"a\":\"\xff\"}"), None);
    assert_eq!(Json::read(b"{\"a\":\"\0\"}"), None);
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(Json::read(nested(128).as_bytes()).is_some());
    assert!(Json::read(nested(129).as_bytes()).is_none());
}

#[test]
fn json_keeps_order_and_compares_by_value() {
    let read = |text: &str| Json::read(text.as_bytes()).unwrap();
    assert_eq!(
        read(r#"{"b":1,"a":2,"b":3}"#).canonical(),
        r#"{"a":2,"b":3}"#
    );
    assert_eq!(
        read(r#"{"b":1,"b":3}"#).get("b"),
        Some(&Json::Number("3".into()))
    );
    assert_ne!(read("1").canonical(), read("1.0").canonical());
    assert_eq!(read("1.0").canonical(), read("10e-1").canonical());
    assert_eq!(read("-0").canonical(), read("0").canonical());
    let deep = read(r#"{"a/b":{"~":[7,{"c":"x"}]}}"#);
    assert_eq!(deep.find("/a~1b/~0/1/c").and_then(Json::text), Some("x"));
    assert_eq!(deep.find("/a~1b/~0/01"), None);
    assert_eq!(
        deep.find("a/b").map(Json::canonical).as_deref(),
        Some(r#"{"~":[7,{"c":"x"}]}"#)
    );
    assert_eq!(read("-12").integer(), Some(-12));
    assert_eq!(read("12.0").integer(), None);
    assert_eq!(quoted("a\"\\\t\u{1}é"), r#""a\"\\\t\u0001é""#);
}
