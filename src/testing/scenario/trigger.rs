//! Triggers in the call syntax.

use std::time::Duration;

use super::call::{Argument, Call, Fault, Judged};
use crate::Result;
use crate::repair::spec::tree::Node;
use crate::windowing::Trigger;

/// The names of triggers.
const NAMES: [&str; 12] = [
    "Default",
    "DefaultTrigger",
    "AfterWatermark",
    "AfterCount",
    "AfterProcessingTime",
    "Repeatedly",
    "AfterAny",
    "AfterAll",
    "AfterEach",
    "OrFinally",
    "Always",
    "Never",
];

/// The trigger that a document's `trigger_fn` says.
pub(super) fn read(node: &Node) -> Result<Trigger> {
    let call = Call::read(node, KEY)?;
    judged(&call).map_err(|fault| fault.at(node, KEY))
}

const KEY: &str = "trigger_fn";

fn judged(call: &Call) -> Judged<Trigger> {
    let trigger = trigger(call)?;
    match trigger.fault() {
        None => Ok(trigger),
        Some(fault) => Err(Fault::new(fault, "give the trigger something to wait for")),
    }
}

fn trigger(call: &Call) -> Judged<Trigger> {
    let alone = |trigger| call.bind([]).map(|[]| trigger);
    match call.name.as_str() {
        "Default" | "DefaultTrigger" => alone(Trigger::Default),
        "Always" => alone(Trigger::Always),
        "Never" => alone(Trigger::Never),
        "AfterWatermark" => {
            let [early, late] = call.bind(["early", "late"])?;
            Ok(Trigger::AfterWatermark {
                early: optional(call, "early", early)?.map(Box::new),
                late: optional(call, "late", late)?.map(Box::new),
            })
        }
        "AfterCount" => {
            let [count] = call.bind(["count"])?;
            Ok(Trigger::AfterCount(call.length("count", count)?))
        }
        "AfterProcessingTime" => {
            let [delay, align] = call.bind(["delay", "align"])?;
            let length = |name, argument| call.length(name, argument).map(Duration::from_micros);
            let align = align.map(|align| length("align", Some(align)));
            Ok(Trigger::AfterProcessingTime {
                delay: length("delay", delay)?,
                align: align.transpose()?,
            })
        }
        "Repeatedly" => {
            let [trigger] = call.bind(["trigger"])?;
            Ok(part(call, "trigger", trigger)?.repeatedly())
        }
        "AfterAny" => parts(call).map(Trigger::AfterAny),
        "AfterAll" => parts(call).map(Trigger::AfterAll),
        "AfterEach" => parts(call).map(Trigger::AfterEach),
        "OrFinally" => {
            let [trigger, until] = call.bind(["trigger", "until"])?;
            let until = part(call, "until", until)?;
            Ok(part(call, "trigger", trigger)?.or_finally(until))
        }
        name => Err(Fault::unknown("trigger", name, &NAMES)),
    }
}

/// The trigger that an argument is, which the call cannot do without.
fn part(call: &Call, name: &str, argument: Option<&Argument>) -> Judged<Trigger> {
    match argument {
        Some(Argument::Call(part)) => trigger(part),
        Some(Argument::Number(number)) => Err(Fault::new(
            format!("{name} of {} is {number}", call.name),
            "write a trigger",
        )),
        None => Err(Fault::new(
            format!("{} has no {name}", call.name),
            format!("write {}({name}), with a trigger", call.name),
        )),
    }
}

/// As [`part`], where there is one; in Python `None` says that there is none.
fn optional(call: &Call, name: &str, argument: Option<&Argument>) -> Judged<Option<Trigger>> {
    match argument {
        None => Ok(None),
        Some(Argument::Call(none)) if none.name == "None" => Ok(None),
        some => part(call, name, some).map(Some),
    }
}

fn parts(call: &Call) -> Judged<Vec<Trigger>> {
    call.arguments
        .iter()
        .map(|(name, argument)| match name {
            None => part(call, "a part", Some(argument)),
            Some(name) => Err(Fault::new(
                format!("a part of {} is named {name}", call.name),
                "write the triggers alone, with commas between them",
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = match Call::parse(text).and_then(|call| judged(&call)) {
            Ok(trigger) => trigger.to_string(),
            Err(fault) => format!("{fault:?}"),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[track_caller]
    fn refused(text: &str, what: &str, hint: &str) {
        check(text, &format!("{:?}", Fault::new(what, hint)));
    }

    #[test]
    fn triggers_are_shown_as_they_are_written() {
        for text in [
            "Default",
            "Always",
            "Never",
            "AfterWatermark",
            "AfterWatermark(early=AfterCount(3), late=Always)",
            "AfterProcessingTime(5us)",
            "AfterProcessingTime(0s, align=5us)",
            "Repeatedly(AfterAny(AfterCount(1), AfterAll(AfterCount(2), Never)))",
            "AfterEach(AfterCount(1), OrFinally(Always, AfterCount(4)))",
        ] {
            check(&text.replace("us", "").replace("0s", "0"), text);
        }
        check("DefaultTrigger()", "Default");
        check(
            "AfterWatermark(None, AfterCount(1))",
            "AfterWatermark(late=AfterCount(1))",
        );
        check("AfterCount(count=2)", "AfterCount(2)");
    }

    #[test]
    fn what_is_no_trigger() {
        let names = format!("one of {}", NAMES.join(", "));
        refused(
            "aftercuont(1)",
            "there is no trigger \"aftercuont\"",
            &format!("did you mean AfterCount? {names}"),
        );
        refused("X", "there is no trigger \"X\"", &names);
        refused(
            "AfterCount",
            "AfterCount has no count",
            "write AfterCount(count)",
        );
        refused(
            "AfterCount(-1)",
            "count of AfterCount is negative: -1",
            "write a whole number that is not negative",
        );
        refused(
            "AfterCount(Default)",
            "count of AfterCount is \"Default\"",
            "write a whole number",
        );
        refused(
            "Repeatedly(1)",
            "trigger of Repeatedly is 1",
            "write a trigger",
        );
        refused(
            "Default(1)",
            "Default has too many arguments",
            "write Default alone",
        );
        refused(
            "AfterAny(early=Default)",
            "a part of AfterAny is named early",
            "write the triggers alone, with commas between them",
        );
        let hint = "give the trigger something to wait for";
        refused(
            "AfterCount(0)",
            "AfterCount(0) would fire without end",
            hint,
        );
        refused("AfterAll()", "AfterAll() has no parts", hint);
        let many = vec!["Never"; 64].join(", ");
        let many = format!("AfterAny({many})");
        refused(&many, &format!("{many} has more than 64 parts"), hint);
        // The trigger of a grouping that follows is repeated, which is one part more.
        let fewer = many.replacen("Never, ", "", 2);
        check(&fewer, &fewer);
    }
}
