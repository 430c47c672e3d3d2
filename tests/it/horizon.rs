//! `oracle_horizon_*`: random streams with a horizon, from a millisecond to years, compared with the
//! model after every epoch, for several cuts into epochs and numbers of workers.
//!
//! The families: what there is without a horizon (copies, keys, types, limits, grace) once more with
//! one; producers that start over; outliers and clocks that are wrong; streams that fall silent. The
//! `model_*` and `workload_*` tests see to it that the model keeps its own books and that what is
//! peculiar to forgetting does take place.
//!
//! A failure prints the smallest input that still fails and the seed: `AMEND_SEED=n` runs that seed
//! alone, `AMEND_ROUNDS=n` n times as many seeds as usual.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Case, Expected, Output, Plan};
use crate::model::horizon::History;
use crate::model::{About, Answer, Config, Fill, Gap, Keep, Letter, Model, OnReset, StreamField};
use crate::workload::{self, Knobs, Random};

/// Seeds of a test, unless `AMEND_ROUNDS` asks for more.
const SEEDS: u64 = 10;

/// How often a failing input is run again to make it smaller.
const SHRINK_RUNS: usize = 300;

/// Records in an epoch; the last is all.
const CUTS: [usize; 4] = [1, 7, 50, 1_000_000];

/// Several streams in one input.
fn streams() -> Config {
    Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    }
}

/// Much of what a horizon cuts off.
fn knobs() -> Knobs {
    Knobs {
        events: 120,
        streams: 2,
        lost: 15,
        copied: 20,
        late: 20,
        displacement: 30,
        broken: 4,
        ..Knobs::default()
    }
}

/// A config with one of many horizons, and what goes with it, for a seed.
fn with_horizon(config: &Config, seed: u64) -> Config {
    let mut random = Random::new(seed ^ 0x686f_7269_7a6f_6e00);
    // An event comes every five seconds or so, and a late one two minutes later.
    let usual = [10_000, 30_000, 60_000, 120_000];
    let rare = [1, 1_000, 600_000, 86_400_000, 315_360_000_000];
    let horizon = match random.percent(70) {
        true => *random.pick(&usual),
        false => *random.pick(&rare),
    };
    let ttl = [None, None, Some(horizon), Some(2 * horizon + 500)];
    let ahead = [config.max_ahead_ms, config.max_ahead_ms, 60_000, 4_000];
    Config {
        horizon_ms: Some(horizon),
        stream_ttl_ms: *random.pick(&ttl),
        on_reset: match random.percent(50) {
            true => OnReset::NewSequence,
            false => OnReset::DeadLetter,
        },
        grace_ms: config.grace_ms.min(horizon),
        max_ahead_ms: *random.pick(&ahead),
        ..config.clone()
    }
}

fn case(config: &Config, knobs: &Knobs, seed: u64) -> Case {
    let config = with_horizon(config, seed);
    let contents = workload::files(&mut Random::new(seed), &config, knobs);
    let names = ["a.jsonl", "b.jsonl", "c.jsonl"].map(String::from);
    Case {
        config,
        files: names.into_iter().zip(contents).collect(),
    }
}

/// Runs each seed once for each cut, with another number of workers each time.
#[track_caller]
fn oracle(config: &Config, knobs: &Knobs) {
    oracle_with(SEEDS, config, knobs);
}

#[track_caller]
fn oracle_with(usual: u64, config: &Config, knobs: &Knobs) {
    for seed in workload::seeds(usual) {
        let case = case(config, knobs, seed);
        for (cut, turn) in CUTS.into_iter().zip(seed as usize..) {
            let plan = Plan {
                workers: [1, 2, 4][turn % 3],
                epoch: Some(cut),
            };
            if let Err(error) = case.check(&[plan]) {
                let (small, small_error) = smaller(&case, plan);
                let text = as_text(&small);
                panic!("{error}\nAMEND_SEED={seed}\n\nSmaller: {small_error}\n\n{plan:?}\n{text}");
            }
        }
    }
}

/// The files of a case, for a person who wants to run it.
fn as_text(case: &Case) -> String {
    let names: Vec<String> = case.files.iter().map(|(name, _)| name.clone()).collect();
    let mut out = format!("--- flow.toml\n{}", case.config.toml(&names));
    for (name, content) in &case.files {
        let content = content.escape_ascii().to_string();
        let content = content.replace("\\\"", "\"").replace("\\n", "\n");
        out.push_str(&format!("--- {name}\n{content}\n"));
    }
    out
}

/// Leaves out lines, many at a time and then fewer, as long as the case still fails.
fn smaller(case: &Case, plan: Plan) -> (Case, String) {
    let mut best = case.clone();
    let mut error = String::from("it does not fail a second time");
    let mut runs = 0;
    let mut chunk = 64;
    while chunk > 0 {
        for file in 0..best.files.len() {
            let mut from = 0;
            loop {
                let content = best.files[file].1.clone();
                let lines: Vec<&[u8]> = content.split_inclusive(|&b| b == b'\n').collect();
                if from >= lines.len() || runs == SHRINK_RUNS {
                    break;
                }
                let to = lines.len().min(from + chunk);
                let mut shorter = best.clone();
                shorter.files[file].1 = [&lines[..from], &lines[to..]].concat().concat();
                runs += 1;
                match shorter.check(&[plan]) {
                    Ok(()) => from = to,
                    Err(what) => (best, error) = (shorter, what),
                }
            }
        }
        chunk /= 2;
    }
    (best, error)
}

#[test]
fn oracle_horizon_one_stream() {
    let knobs = Knobs {
        streams: 1,
        files: 1,
        ..knobs()
    };
    oracle(&Config::default(), &knobs);
}

#[test]
fn oracle_horizon_streams() {
    oracle(&streams(), &knobs());
}

#[test]
fn oracle_horizon_many_streams_and_files() {
    let knobs = Knobs {
        streams: 9,
        files: 3,
        events: 200,
        ..knobs()
    };
    oracle(&streams(), &knobs);
}

#[test]
fn oracle_horizon_long() {
    let knobs = Knobs {
        events: 900,
        streams: 3,
        restarts: 1,
        ..knobs()
    };
    oracle_with(2, &streams(), &knobs);
}

#[test]
fn oracle_horizon_keep_last() {
    let config = Config {
        keep: Keep::Last,
        ..streams()
    };
    let knobs = Knobs {
        copied: 35,
        invalid: 25,
        ..knobs()
    };
    oracle(&config, &knobs);
}

#[test]
fn oracle_horizon_invalid_copies() {
    let knobs = Knobs {
        copied: 40,
        invalid: 50,
        ..knobs()
    };
    oracle(&streams(), &knobs);
}

/// The keys that are not the usual one: groups may have several ids, or several times.
#[test]
fn oracle_horizon_other_keys() {
    let knobs = Knobs {
        copied: 35,
        restarts: 2,
        ..knobs()
    };
    for key in [
        &["uuid"][..],
        &["event_id"],
        &["event_id", "timestamp", "type"],
    ] {
        for keep in [Keep::First, Keep::Last] {
            let config = Config {
                key: Some(key.iter().map(|name| name.to_string()).collect()),
                keep,
                ..streams()
            };
            oracle_with(4, &config, &knobs);
        }
    }
}

/// Few values of a field for many ids: a group lives as long as the youngest of them.
#[test]
fn oracle_horizon_groups_of_many_ids() {
    for keep in [Keep::First, Keep::Last] {
        let config = Config {
            key: Some(vec!["type".into()]),
            keep,
            ..streams()
        };
        oracle_with(5, &config, &knobs());
    }
}

#[test]
fn oracle_horizon_lower_neighbour() {
    let config = Config {
        fill: Fill::LowerNeighbour,
        ..streams()
    };
    oracle(&config, &knobs());
}

#[test]
fn oracle_horizon_reconstruct_off() {
    let config = Config {
        reconstruct: false,
        max_width: 3,
        ..streams()
    };
    oracle(&config, &knobs());
}

/// Runs that split and join, and islands in them.
#[test]
fn oracle_horizon_max_width() {
    let knobs = Knobs {
        lost: 35,
        late: 35,
        jumps: 10,
        jump: 4,
        streams: 1,
        ..knobs()
    };
    let narrow = |max_width| Config {
        max_width,
        ..streams()
    };
    oracle(&narrow(3), &knobs);
    oracle(&narrow(1), &knobs);
    oracle_with(4, &narrow(0), &knobs);
}

#[test]
fn oracle_horizon_max_missing() {
    let knobs = Knobs {
        lost: 30,
        late: 30,
        jumps: 5,
        jump: 4,
        ..knobs()
    };
    let config = Config {
        max_missing: 4,
        ..streams()
    };
    oracle(&config, &knobs);
    let config = Config {
        max_missing: 2,
        max_width: 3,
        ..config
    };
    oracle(&config, &knobs);
}

#[test]
fn oracle_horizon_grace() {
    let knobs = Knobs {
        lost: 25,
        far_future: 2,
        bad_clock: 2,
        ..knobs()
    };
    for (grace_ms, disorder_ms) in [(30_000, 0), (5_000, 12_500)] {
        let config = Config {
            grace_ms,
            disorder_ms,
            max_width: 4,
            ..streams()
        };
        oracle(&config, &knobs);
    }
}

/// Producers that start over, under either rule.
#[test]
fn oracle_horizon_resets() {
    let knobs = Knobs {
        restarts: 4,
        lost: 10,
        jumps: 5,
        jump: 4,
        ..knobs()
    };
    oracle(&streams(), &knobs);
    let config = Config {
        max_width: 3,
        keep: Keep::Last,
        ..streams()
    };
    oracle(&config, &knobs);
    let config = Config {
        max_missing: 3,
        grace_ms: 10_000,
        ..streams()
    };
    oracle(&config, &knobs);
}

#[test]
fn oracle_horizon_outliers() {
    let knobs = Knobs {
        outliers: 6,
        far_future: 4,
        ..knobs()
    };
    oracle(&streams(), &knobs);
}

#[test]
fn oracle_horizon_clocks() {
    let knobs = Knobs {
        events: 420,
        bad_clock: 3,
        far_future: 2,
        rewinds: 6,
        leaps: 1,
        files: 1,
        ..knobs()
    };
    oracle_with(4, &streams(), &knobs);
}

/// Many streams that live for a short time, some of which come back.
#[test]
fn oracle_horizon_streams_that_end() {
    let knobs = Knobs {
        streams: 5,
        events: 240,
        life: 40,
        late: 10,
        restarts: 1,
        ..knobs()
    };
    oracle(&streams(), &knobs);
    let config = Config {
        max_width: 3,
        max_missing: 3,
        grace_ms: 10_000,
        keep: Keep::Last,
        ..streams()
    };
    oracle(&config, &knobs);
}

#[test]
fn oracle_horizon_all_at_once() {
    for seed in workload::seeds(12) {
        let (config, knobs) = all_at_once(seed);
        let case = case(&config, &knobs, seed);
        for (cut, turn) in CUTS.into_iter().zip(seed as usize..) {
            let plan = Plan {
                workers: [4, 1, 2][turn % 3],
                epoch: Some(cut),
            };
            if let Err(error) = case.check(&[plan]) {
                panic!("{error}\nAMEND_SEED={seed}\n\n{plan:?}\n{}", as_text(&case));
            }
        }
    }
}

/// Any rule with any workload.
fn all_at_once(seed: u64) -> (Config, Knobs) {
    let mut random = Random::new(seed ^ 0x616c_6c00);
    let random = &mut random;
    let keys = [None, None, Some("uuid"), Some("event_id"), Some("type")];
    let fills = [Fill::MostFrequent, Fill::MostFrequent, Fill::LowerNeighbour];
    let config = Config {
        key: random.pick(&keys).map(|name| vec![name.into()]),
        keep: *random.pick(&[Keep::First, Keep::Last]),
        fill: random.pick(&fills).clone(),
        grace_ms: *random.pick(&[0, 0, 1_000, 30_000]),
        disorder_ms: *random.pick(&[0, 0, 10_000]),
        max_width: *random.pick(&[1, 3, 10_000]),
        max_missing: *random.pick(&[2, 6, 1_000_000, 1_000_000]),
        ..streams()
    };
    let knobs = Knobs {
        events: 60 + random.below(200),
        streams: 1 + random.below(4),
        files: 1 + random.below(3),
        lost: *random.pick(&[5, 20, 40]),
        invalid: *random.pick(&[5, 40]),
        jumps: *random.pick(&[0, 5]),
        jump: 4,
        restarts: *random.pick(&[0, 2, 6]),
        outliers: *random.pick(&[0, 2]),
        far_future: *random.pick(&[0, 2]),
        life: *random.pick(&[0, 0, 30]),
        rewinds: *random.pick(&[0, 5]),
        ..knobs()
    };
    (config, knobs)
}

/// Every test's books: read = kept + dead letters about records; what is in `clean.jsonl` is what is
/// published at the end; what was refused stays so; the totals of gaps and guesses that were
/// forgotten are never lowered.
#[test]
fn model_keeps_its_books() {
    for seed in 0..40 {
        let (config, knobs) = all_at_once(seed);
        let case = case(&config, &knobs, seed);
        let model = case.model();
        for cut in [1, 7, 1_000_000] {
            let history = model.history(cut);
            books(&model, cut, &history);
        }
    }
}

fn books(model: &Model, cut: usize, history: &History) {
    let mut refused = BTreeSet::new();
    for (epoch, answer) in history.answers.iter().enumerate() {
        let read = model.records.len().min((epoch + 1) * cut);
        let about_records = |about: &About| matches!(about, About::Record { .. });
        let letters = answer.letters.iter();
        let letters = letters.filter(|letter| about_records(&letter.about));
        assert_eq!(read, answer.kept.len() + letters.count(), "epoch {epoch}");
        let now = answer
            .letters
            .iter()
            .filter(|letter| matches!(&letter.reason[..], "late" | "out-of-sequence"));
        let now: BTreeSet<_> = now.cloned().collect();
        assert!(refused.is_subset(&now), "epoch {epoch}");
        refused = now;
    }
    let last = history.answers.last().unwrap();
    let count = |texts: &mut dyn Iterator<Item = &str>| {
        let mut counts = BTreeMap::<String, usize>::new();
        texts.for_each(|text| *counts.entry(text.into()).or_default() += 1);
        counts
    };
    let guesses = last.reconstructed.iter().map(|(_, text)| &text[..]);
    let mut published = last.kept.iter().map(|text| &text[..]).chain(guesses);
    assert_eq!(count(&mut published), count(&mut history.clean.lines()));
}

/// The harness takes what the model would write, where rows stand more than once, too; and nothing
/// that is written once too often.
#[test]
fn harness_compares_what_comes_again() {
    let mut repeated = 0;
    for seed in 0..30 {
        let (config, knobs) = all_at_once(seed);
        let knobs = Knobs {
            broken: 0,
            noise: 0,
            restarts: 6,
            ..knobs
        };
        let case = case(&config, &knobs, seed);
        let model = case.model();
        let history = model.history(7);
        let expected = Expected::new(&case, &model, Some(7));
        let mut output = fake(&case, &model, &history);
        expected.check(&output, 1).unwrap();
        let last = history.answers.last().unwrap();
        repeated += last.repeated_gaps.len();
        if let Some(line) = output.gaps.lines().last().map(String::from) {
            output.gaps.push_str(&line);
            assert!(expected.check(&output, 1).is_err());
        }
    }
    assert!(repeated > 0);
}

/// What the binary should write for records that are all well formed.
fn fake(case: &Case, model: &Model, history: &History) -> Output {
    let mut out = Output {
        clean: history.clean.clone(),
        ..Output::default()
    };
    let mut before = Answer::default();
    let mut retractions = 0;
    let of = |gap: &Gap| {
        let Gap { stream, from, to } = gap;
        format!("\"stream\":{stream},\"from\":{from},\"to\":{to}")
    };
    for (epoch, answer) in history.answers.iter().enumerate() {
        let rows = |answer: &Answer| -> Vec<String> {
            let row = |origin: &str, text: &str| {
                format!("\"origin\":\"{origin}\",\"event\":{}", text.trim())
            };
            let kept = answer.kept.iter().map(|text| row("observed", text));
            let guesses = answer.reconstructed.iter();
            let guesses = guesses.map(|(_, text)| row("reconstructed", text));
            kept.chain(guesses).collect()
        };
        for (op, row) in changes(&rows(&before), &rows(answer)) {
            retractions += usize::from(op == "retract");
            let line = format!("{{\"epoch\":{epoch},\"op\":\"{op}\",{row}}}\n");
            out.changes.push_str(&line);
        }
        let gaps = |answer: &Answer| -> Vec<String> {
            let gaps = answer.gaps.iter().chain(&answer.repeated_gaps);
            gaps.map(of).collect()
        };
        for (op, gap) in changes(&gaps(&before), &gaps(answer)) {
            let op = if op == "insert" { "open" } else { "close" };
            let line = format!("{{\"epoch\":{epoch},\"op\":\"{op}\",{gap}}}\n");
            out.gaps.push_str(&line);
        }
        let letter = |Letter { reason, about }: &Letter| {
            let about = match about {
                About::Gap(gap) => of(gap),
                About::Stream(stream) => format!("\"stream\":{stream}"),
                About::Record { file, offset, line } => {
                    let mut records = model.records.iter();
                    let record = records.find(|r| r.file == *file && r.offset == *offset);
                    let bytes = record.unwrap().bytes.trim_ascii();
                    format!(
                        "\"detail\":\"so\",\"event\":{},\"source\":{{\"name\":\"\",\
                         \"partition\":\"/{}\",\"offset\":{offset},\"line\":{line}}}",
                        String::from_utf8_lossy(bytes),
                        case.files[*file].0
                    )
                }
            };
            format!("\"reason\":\"{reason}\",{about}")
        };
        let letters = |answer: &Answer| -> Vec<String> {
            let letters = answer.letters.iter().chain(&answer.repeated_letters);
            letters.map(letter).collect()
        };
        for (op, letter) in changes(&letters(&before), &letters(answer)) {
            let line = format!("{{\"epoch\":{epoch},\"op\":\"{op}\",{letter}}}\n");
            out.dead.push_str(&line);
        }
        before = answer.clone();
    }
    let dead = before.dead();
    let dead: Vec<String> = dead
        .iter()
        .map(|(why, n)| format!("\"{why}\":{n}"))
        .collect();
    out.report = format!(
        "{{\"read\":{},\"kept\":{},\"reconstructed\":{},\"dead\":{{{}}},\
         \"gaps\":{{\"open\":{},\"missing_ids\":{},\"filled_ids\":{}}},\"retractions\":{retractions},\
         \"epochs\":{},\"workers\":1,\"elapsed_s\":0.5,\"events_per_s\":9.5}}",
        model.records.len(),
        before.kept.len(),
        before.reconstructed.len(),
        dead.join(","),
        before.gaps.len() + before.repeated_gaps.len(),
        before.missing_ids(),
        history.filled_ids,
        history.answers.len(),
    );
    out
}

/// What must be taken back and added for `new` to stand in the place of `old`, as multisets.
fn changes(old: &[String], new: &[String]) -> Vec<(&'static str, String)> {
    let without = |rows: &[String], others: &[String]| {
        let mut others = others.to_vec();
        let mut left = rows.to_vec();
        left.retain(|row| match others.iter().position(|other| other == row) {
            Some(at) => {
                others.swap_remove(at);
                false
            }
            None => true,
        });
        left
    };
    let retracted = without(old, new).into_iter().map(|row| ("retract", row));
    let inserted = without(new, old).into_iter().map(|row| ("insert", row));
    retracted.chain(inserted).collect()
}

#[test]
fn workload_makes_everything_happen() {
    let mut happened = BTreeMap::new();
    for seed in 0..60 {
        let (config, knobs) = all_at_once(seed);
        let history = case(&config, &knobs, seed).model().history(7);
        for (what, count) in history.happened {
            *happened.entry(what).or_insert(0) += count;
        }
    }
    let all = [
        "forgotten where too sparse",
        "gap forgotten without guesses",
        "gap opened when forgotten",
        "group outlives an id",
        "guesses made final",
        "incarnation dropped",
        "island joined",
        "island of an older incarnation",
        "late",
        "new incarnation",
        "out-of-sequence",
        "range",
        "record of an older incarnation",
        "ripe behind what is not",
        "several runs",
        "stream forgotten",
    ];
    let found: Vec<&str> = happened.keys().copied().collect();
    assert_eq!(found, all, "{happened:?}");
}
