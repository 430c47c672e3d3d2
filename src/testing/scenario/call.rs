//! The call syntax of window functions and triggers: `AfterWatermark(early=AfterCount(2))`.
//!
//! Empty parentheses may be left out, as Beam's files do. What a name means is not known here.

use crate::Error;
use crate::Result;
use crate::repair::spec::table::nearest;
use crate::repair::spec::tree::{Node, Value, quote};

/// How deep calls may be nested: a trigger has at most 64 parts.
const MAX_DEPTH: usize = 64;

/// A name, and what stands in parentheses behind it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<(Option<String>, Argument)>,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Number(i64),
    Call(Call),
}

/// What is wrong with a call, and what to do about it.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    what: String,
    hint: String,
}

/// What is made of a call, or what is wrong with it.
pub(super) type Judged<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Fault {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// The fault as an error of the document's `key`, whose value `node` is.
    pub(super) fn at(self, node: &Node, key: &str) -> Error {
        let what = shorten(&self.what);
        Error::usage(format!("{}: {key}: {what}", node.place)).with_hint(self.hint)
    }

    /// A name that is none of `names`.
    pub(super) fn unknown(what: &str, name: &str, names: &[&str]) -> Self {
        Fault::new(
            format!("there is no {what} {}", quote(name)),
            suggestion(name, &format!("one of {}", names.join(", ")), names),
        )
    }
}

/// `listed`, after the one of `names` that is nearest to `name`, if one is near.
pub(super) fn suggestion(name: &str, listed: &str, names: &[&str]) -> String {
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let near = nearest(name, &lower).and_then(|near| lower.iter().position(|name| *name == near));
    match near {
        Some(at) => format!("did you mean {}? {listed}", names[at]),
        None => listed.to_owned(),
    }
}

/// `text` without its middle, where it is long.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= MAX_CHARS {
        return text.to_owned();
    }
    let (start, end) = (
        &chars[..MAX_CHARS / 2],
        &chars[chars.len() - MAX_CHARS / 2..],
    );
    format!("{}…{}", String::from_iter(start), String::from_iter(end))
}

impl Call {
    /// The call that `node` writes, as the value of the document's `key`.
    pub(super) fn read(node: &Node, key: &str) -> Result<Call> {
        let Value::Text(text) = &node.value else {
            let what = format!("{} is {}", node.value, node.value.kind());
            return Err(Fault::new(what, EXAMPLE).at(node, key));
        };
        Call::parse(text).map_err(|fault| fault.at(node, key))
    }

    pub(super) fn parse(text: &str) -> Judged<Call> {
        let mut reader = Reader { text, at: 0 };
        let call = match reader.argument(0)? {
            Argument::Call(call) => call,
            Argument::Number(number) => {
                return Err(Fault::new(format!("{number} is a number"), EXAMPLE));
            }
        };
        reader.skip_blanks();
        if reader.at < text.len() {
            return Err(reader.unexpected("the end"));
        }
        Ok(call)
    }

    /// The arguments as the parameters that `names` are, by place or by name.
    pub(super) fn bind<const N: usize>(&self, names: [&str; N]) -> Judged<[Option<&Argument>; N]> {
        let mut bound = [None; N];
        for (at, (name, argument)) in self.arguments.iter().enumerate() {
            let at = match name {
                None if at < N => at,
                None => {
                    let what = format!("{} has too many arguments", self.name);
                    return Err(Fault::new(what, self.usage(&names)));
                }
                Some(name) => names.iter().position(|own| own == name).ok_or_else(|| {
                    let what = format!("{} has no argument {}", self.name, quote(name));
                    Fault::new(what, suggestion(name, &self.usage(&names), &names))
                })?,
            };
            if bound[at].replace(argument).is_some() {
                let what = format!("{} has {} twice", self.name, names[at]);
                return Err(Fault::new(what, self.usage(&names)));
            }
        }
        Ok(bound)
    }

    /// How the call is written.
    fn usage(&self, names: &[&str]) -> String {
        match names {
            [] => format!("write {} alone", self.name),
            names => format!("{} takes {}", self.name, names.join(", ")),
        }
    }

    /// The number that an argument is, which the call cannot do without.
    pub(super) fn number(&self, name: &str, argument: Option<&Argument>) -> Judged<i64> {
        match argument {
            Some(Argument::Number(number)) => Ok(*number),
            Some(Argument::Call(call)) => Err(Fault::new(
                format!("{name} of {} is {}", self.name, quote(&call.name)),
                "write a whole number",
            )),
            None => Err(Fault::new(
                format!("{} has no {name}", self.name),
                format!("write {}({name})", self.name),
            )),
        }
    }

    /// As [`Call::number`]; a length of time, which is not negative.
    pub(super) fn length(&self, name: &str, argument: Option<&Argument>) -> Judged<u64> {
        let number = self.number(name, argument)?;
        u64::try_from(number).map_err(|_| {
            Fault::new(
                format!("{name} of {} is negative: {number}", self.name),
                "write a whole number that is not negative",
            )
        })
    }
}

const EXAMPLE: &str = "write a name, with arguments in parentheses: AfterCount(2)";

struct Reader<'a> {
    text: &'a str,
    /// The byte that is read next.
    at: usize,
}

impl Reader<'_> {
    /// A number or a call, inside of `depth` others.
    fn argument(&mut self, depth: usize) -> Judged<Argument> {
        self.skip_blanks();
        if self
            .rest()
            .starts_with(|c: char| c == '-' || c.is_ascii_digit())
        {
            return self.number();
        }
        let name = self.name();
        if name.is_empty() {
            return Err(self.unexpected("a name"));
        }
        if depth >= MAX_DEPTH {
            let what = format!("calls are nested more than {MAX_DEPTH} deep");
            return Err(Fault::new(what, "a trigger has at most 64 parts"));
        }
        let mut arguments = Vec::new();
        if self.take('(') {
            while !self.take(')') {
                arguments.push(self.named_argument(depth + 1)?);
                if !self.take(',') {
                    if self.take(')') {
                        break;
                    }
                    return Err(self.unexpected("\",\" or \")\""));
                }
            }
        }
        Ok(Argument::Call(Call { name, arguments }))
    }

    fn named_argument(&mut self, depth: usize) -> Judged<(Option<String>, Argument)> {
        self.skip_blanks();
        let start = self.at;
        let name = self.name();
        if !name.is_empty() && self.take('=') {
            return Ok((Some(name), self.argument(depth)?));
        }
        self.at = start;
        Ok((None, self.argument(depth)?))
    }

    fn number(&mut self) -> Judged<Argument> {
        let start = self.at;
        self.at += usize::from(self.rest().starts_with('-'));
        self.skip(|c| c.is_ascii_digit());
        if self
            .rest()
            .starts_with(|c: char| c == '.' || c == '_' || c.is_alphanumeric())
        {
            return Err(self.unexpected("a digit"));
        }
        let text = &self.text[start..self.at];
        let number = text.parse().map_err(|_| {
            let what = format!("{} is no integer of 64 bits", quote(text));
            Fault::new(what, "write a smaller whole number")
        })?;
        Ok(Argument::Number(number))
    }

    fn name(&mut self) -> String {
        let start = self.at;
        if !self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            self.skip(|c| c.is_alphanumeric() || c == '_');
        }
        self.text[start..self.at].to_owned()
    }

    /// Whether `c` comes next, blanks aside; reads over it where it does.
    fn take(&mut self, c: char) -> bool {
        self.skip_blanks();
        let is_next = self.rest().starts_with(c);
        self.at += if is_next { c.len_utf8() } else { 0 };
        is_next
    }

    fn skip_blanks(&mut self) {
        self.skip(char::is_whitespace);
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.rest() {
            "" => "it ends".to_owned(),
            rest => format!("there is {}", quote(rest)),
        };
        Fault::new(format!("{found} where {wanted} should be"), EXAMPLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The call as it is understood, every argument with its name.
    fn shown(call: &Call) -> String {
        let arguments = call.arguments.iter().map(|(name, argument)| {
            let name = name
                .as_deref()
                .map(|name| format!("{name}="))
                .unwrap_or_default();
            match argument {
                Argument::Number(number) => format!("{name}{number}"),
                Argument::Call(call) => format!("{name}{}", shown(call)),
            }
        });
        format!("{}({})", call.name, arguments.collect::<Vec<_>>().join(" "))
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = match Call::parse(text) {
            Ok(call) => shown(&call),
            Err(fault) => fault.what,
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn calls() {
        check("Default", "Default()");
        check(" Default ( ) ", "Default()");
        check("A(1,-2)", "A(1 -2)");
        check("A(early=B(2), late = C,)", "A(early=B(2) late=C())");
        check("A(B(C(D)))", "A(B(C(D())))");
    }

    #[test]
    fn what_is_no_call() {
        check("", "it ends where a name should be");
        check("5", "5 is a number");
        check("A(", "it ends where a name should be");
        check("A(1", "it ends where \",\" or \")\" should be");
        check("A)", "there is \")\" where the end should be");
        check("A(,)", "there is \",)\" where a name should be");
        check("A(1 2)", "there is \"2)\" where \",\" or \")\" should be");
        check("A(1.5)", "there is \".5)\" where a digit should be");
        check("A(b=)", "there is \")\" where a name should be");
        check("A(-)", "\"-\" is no integer of 64 bits");
        check(
            "A(9223372036854775808)",
            "\"9223372036854775808\" is no integer of 64 bits",
        );
        check(&"A(".repeat(100_000), "calls are nested more than 64 deep");
    }

    #[test]
    fn arguments_have_a_place_or_a_name() {
        let bind = |text: &str| {
            let call = Call::parse(text).unwrap();
            let bound = call.bind(["size", "offset"]);
            bound
                .map(|bound| bound.map(|argument| argument.cloned()))
                .map_err(|fault| format!("{}; {}", fault.what, fault.hint))
        };
        let number = |number| Some(Argument::Number(number));
        assert_eq!(bind("F(1)"), Ok([number(1), None]));
        assert_eq!(bind("F(1, offset=2)"), Ok([number(1), number(2)]));
        assert_eq!(bind("F(offset=2, size=1)"), Ok([number(1), number(2)]));
        let refused = |text, message: &str| assert_eq!(bind(text), Err(message.to_owned()));
        refused(
            "F(1, 2, 3)",
            "F has too many arguments; F takes size, offset",
        );
        refused("F(1, size=2)", "F has size twice; F takes size, offset");
        refused(
            "F(1, ofset=2)",
            "F has no argument \"ofset\"; did you mean offset? F takes size, offset",
        );
    }
}
