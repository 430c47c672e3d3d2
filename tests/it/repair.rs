//! `oracle_*`: random streams under every kind of rule, compared with the model after every epoch,
//! for several cuts into epochs and numbers of workers.
//!
//! A failure prints the smallest input that still fails and the seed: `AMEND_SEED=n` runs that seed
//! alone, `AMEND_ROUNDS=n` n times as many seeds as usual.

use std::collections::BTreeSet;

use crate::harness::{Case, Plan};
use crate::model::{Config, Fill, Format, Keep, Model, StreamField};
use crate::workload::{self, Knobs, Random};

/// Seeds of a test, unless `AMEND_ROUNDS` asks for more.
const SEEDS: u64 = 10;

/// How often a failing input is run again to make it smaller.
const SHRINK_RUNS: usize = 400;

/// Several streams in one input.
fn streams() -> Config {
    Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    }
}

#[track_caller]
fn oracle(config: Config, knobs: Knobs) {
    oracle_with(SEEDS, &[Some(1), Some(7), Some(1000), None], config, knobs);
}

/// Runs each seed once for each cut, with another number of workers each time.
#[track_caller]
fn oracle_with(usual: u64, cuts: &[Option<usize>], config: Config, knobs: Knobs) {
    for seed in workload::seeds(usual) {
        let contents = workload::files(&mut Random::new(seed), &config, &knobs);
        let names = ["a.jsonl", "b.jsonl", "c.jsonl"].map(String::from);
        let case = Case {
            config: config.clone(),
            files: names.into_iter().zip(contents).collect(),
        };
        let plans: Vec<Plan> = cuts
            .iter()
            .zip(seed as usize..)
            .map(|(&epoch, turn)| Plan {
                workers: [1, 2, 4][turn % 3],
                epoch,
            })
            .collect();
        for plan in plans {
            if let Err(error) = case.check(&[plan]) {
                let (small, small_error) = shrink(&case, plan);
                panic!(
                    "{error}\nAMEND_SEED={seed}\n\nSmaller: {small_error}\n\n{}",
                    small.shown(plan)
                );
            }
        }
    }
}

impl Case {
    /// The case for a person who wants to run it.
    fn shown(&self, plan: Plan) -> String {
        let names: Vec<String> = self.files.iter().map(|(name, _)| name.clone()).collect();
        let mut out = format!("{plan:?}\n--- flow.toml\n{}", self.config.toml(&names));
        for (name, content) in &self.files {
            out.push_str(&format!("--- {name}\n"));
            for line in content.split_inclusive(|&b| b == b'\n') {
                out.push_str(&format!(
                    "{}\n",
                    line.escape_ascii().to_string().replace("\\\"", "\"")
                ));
            }
        }
        out
    }
}

/// Leaves out lines as long as the case still fails.
fn shrink(case: &Case, plan: Plan) -> (Case, String) {
    let mut small = case.clone();
    let mut error = String::from("it does not fail a second time");
    let mut runs = 0;
    let mut chunk = case
        .files
        .iter()
        .map(|(_, content)| content.len())
        .sum::<usize>()
        .max(1);
    while chunk > 0 && runs < SHRINK_RUNS {
        let lines = |case: &Case| {
            let line = |(file, (_, content)): (usize, &(String, Vec<u8>))| {
                let cut = content.split_inclusive(|&b| b == b'\n');
                cut.map(|line| (file, line.to_vec())).collect::<Vec<_>>()
            };
            case.files
                .iter()
                .enumerate()
                .flat_map(line)
                .collect::<Vec<_>>()
        };
        chunk = chunk.min(lines(&small).len().max(1));
        let mut from = 0;
        while from < lines(&small).len() && runs < SHRINK_RUNS {
            let mut rest = lines(&small);
            rest.drain(from..(from + chunk).min(rest.len()));
            let mut smaller = small.clone();
            for (nth, (_, content)) in smaller.files.iter_mut().enumerate() {
                let of_file = rest.iter().filter(|(file, _)| *file == nth);
                *content = of_file.flat_map(|(_, line)| line.clone()).collect();
            }
            runs += 1;
            match smaller.check(&[plan]) {
                Ok(()) => from += chunk,
                Err(smaller_error) => (small, error) = (smaller, smaller_error),
            }
        }
        chunk /= 2;
    }
    (small, error)
}

#[test]
fn oracle_one_stream() {
    oracle(
        Config::default(),
        Knobs {
            streams: 1,
            files: 1,
            ..Knobs::default()
        },
    );
}

#[test]
fn oracle_default_key() {
    oracle(streams(), Knobs::default());
}

#[test]
fn oracle_many_streams() {
    oracle(
        streams(),
        Knobs {
            streams: 9,
            files: 3,
            events: 90,
            ..Knobs::default()
        },
    );
}

#[test]
fn oracle_larger_epochs() {
    let knobs = Knobs {
        events: 2500,
        streams: 5,
        ..Knobs::default()
    };
    oracle_with(
        2,
        &[Some(97), Some(1000), Some(1_000_000), None],
        streams(),
        knobs,
    );
}

#[test]
fn oracle_keep_last() {
    oracle(
        Config {
            keep: Keep::Last,
            ..streams()
        },
        Knobs {
            copied: 30,
            ..Knobs::default()
        },
    );
}

#[test]
fn oracle_invalid_copies() {
    let knobs = Knobs {
        copied: 40,
        invalid: 50,
        broken: 2,
        ..Knobs::default()
    };
    oracle(streams(), knobs.clone());
    oracle(
        Config {
            keep: Keep::Last,
            ..streams()
        },
        knobs,
    );
}

#[test]
fn oracle_uuid_key() {
    let key = Some(vec!["uuid".into()]);
    oracle(
        Config { key, ..streams() },
        Knobs {
            copied: 30,
            ..Knobs::default()
        },
    );
}

#[test]
fn oracle_key_with_type() {
    let key = ["event_id", "timestamp", "type"].map(String::from);
    let knobs = Knobs {
        copied: 30,
        ..Knobs::default()
    };
    oracle(
        Config {
            key: Some(key.into()),
            ..streams()
        },
        knobs,
    );
}

#[test]
fn oracle_key_id_only() {
    let key = Some(vec!["event_id".into()]);
    let knobs = Knobs {
        copied: 30,
        ..Knobs::default()
    };
    oracle(
        Config {
            key: key.clone(),
            ..streams()
        },
        knobs.clone(),
    );
    oracle(
        Config {
            key,
            keep: Keep::Last,
            ..streams()
        },
        knobs,
    );
}

#[test]
fn oracle_max_width() {
    let knobs = Knobs {
        lost: 40,
        late: 30,
        jumps: 10,
        jump: 4,
        ..Knobs::default()
    };
    oracle(
        Config {
            max_width: 3,
            ..streams()
        },
        knobs.clone(),
    );
    oracle(
        Config {
            max_width: 1,
            fill: Fill::LowerNeighbour,
            ..streams()
        },
        knobs,
    );
}

#[test]
fn oracle_max_missing() {
    let knobs = Knobs {
        lost: 30,
        late: 30,
        jumps: 10,
        jump: 4,
        streams: 2,
        ..Knobs::default()
    };
    oracle(
        Config {
            max_missing: 5,
            ..streams()
        },
        knobs.clone(),
    );
    oracle(
        Config {
            max_missing: 2,
            max_width: 3,
            ..streams()
        },
        knobs,
    );
}

#[test]
fn oracle_lower_neighbour() {
    let knobs = Knobs {
        lost: 25,
        late: 25,
        copied: 30,
        ..Knobs::default()
    };
    oracle(
        Config {
            fill: Fill::LowerNeighbour,
            ..streams()
        },
        knobs,
    );
}

#[test]
fn oracle_fixed_type() {
    let fill = Fill::Fixed("un\"known é".into());
    oracle(
        Config {
            fill,
            annotate: false,
            ..streams()
        },
        Knobs::default(),
    );
}

#[test]
fn oracle_reconstruct_off() {
    let knobs = Knobs {
        lost: 25,
        jumps: 5,
        jump: 3,
        ..Knobs::default()
    };
    oracle(
        Config {
            reconstruct: false,
            max_width: 3,
            ..streams()
        },
        knobs,
    );
}

#[test]
fn oracle_strict_timestamps() {
    oracle(
        Config {
            format: Format::Strict,
            ..streams()
        },
        Knobs::default(),
    );
}

#[test]
fn oracle_unix_timestamps() {
    for format in [Format::UnixSeconds, Format::UnixMillis, Format::UnixMicros] {
        oracle_with(
            3,
            &[Some(1), Some(7), None],
            Config {
                format,
                ..streams()
            },
            Knobs::default(),
        );
    }
}

#[test]
fn oracle_id_text() {
    oracle(
        Config {
            id_text: true,
            ..streams()
        },
        Knobs::default(),
    );
}

#[test]
fn oracle_stream_list() {
    let stream = StreamField::List(vec!["tenant".into(), "producer".into()]);
    oracle(
        Config {
            stream,
            ..Config::default()
        },
        Knobs {
            streams: 5,
            ..Knobs::default()
        },
    );
}

#[test]
fn oracle_pointers() {
    let config = Config {
        stream: StreamField::One("/from/name".into()),
        id: "/meta/id".into(),
        kind: "/kind".into(),
        timestamp: "/meta/at".into(),
        valid: "/meta/valid".into(),
        key: Some(vec!["/meta/id".into(), "/meta/at".into(), "uuid".into()]),
        ..Config::default()
    };
    oracle(
        config,
        Knobs {
            copied: 30,
            ..Knobs::default()
        },
    );
}

#[test]
fn oracle_other_names() {
    let config = Config {
        stream: StreamField::One("source".into()),
        id: "nr".into(),
        kind: "was".into(),
        timestamp: "am".into(),
        valid: "gültig".into(),
        ..Config::default()
    };
    oracle(config, Knobs::default());
}

#[test]
fn oracle_grace() {
    let knobs = Knobs {
        lost: 20,
        late: 25,
        copied: 20,
        ..Knobs::default()
    };
    let config = Config {
        grace_ms: 30_000,
        ..streams()
    };
    oracle(config.clone(), knobs.clone());
    oracle(
        Config {
            disorder_ms: 12_500,
            max_width: 2,
            ..config
        },
        knobs,
    );
}

#[test]
fn oracle_grace_over_files() {
    let knobs = Knobs {
        files: 3,
        lost: 30,
        late: 10,
        bad_clock: 6,
        rewinds: 12,
        ..Knobs::default()
    };
    let cuts = [Some(1), Some(2), Some(7), None];
    oracle_with(
        16,
        &cuts,
        Config {
            grace_ms: 5_000,
            ..streams()
        },
        knobs,
    );
}

/// Long files with clocks that are wrong and clocks that leap.
fn clocks() -> (Config, Knobs) {
    let knobs = Knobs {
        events: 420,
        streams: 2,
        files: 1,
        lost: 15,
        late: 3,
        displacement: 8,
        bad_clock: 2,
        leaps: 1,
        ..Knobs::default()
    };
    (
        Config {
            grace_ms: 20_000,
            max_ahead_ms: 3_600_000,
            ..streams()
        },
        knobs,
    )
}

#[test]
fn oracle_watermark_and_bad_clocks() {
    let (config, knobs) = clocks();
    let cuts = [Some(3), Some(20), Some(60), None];
    oracle_with(6, &cuts, config.clone(), knobs.clone());
    oracle_with(4, &cuts, config, Knobs { files: 2, ..knobs });
}

#[test]
fn workload_makes_the_watermark_wait_and_follow() {
    let (config, knobs) = clocks();
    let (mut waits, mut follows) = (0, 0);
    for seed in 0..12 {
        let files = workload::files(&mut Random::new(seed), &config, &knobs);
        let mark = |config: &Config| {
            let marks = Model::new(config, &files).watermarks(20);
            marks
                .iter()
                .map(|mark| mark.unwrap_or(0))
                .collect::<Vec<_>>()
        };
        let marks = mark(&config);
        let credulous = mark(&Config {
            max_ahead_ms: i64::MAX / 1000,
            ..config.clone()
        });
        waits += usize::from(marks.iter().zip(&credulous).any(|(a, b)| a < b));
        let step = i128::from(config.max_ahead_ms) * 1000;
        follows += usize::from(marks.windows(2).skip(6).any(|two| two[1] > two[0] + step));
    }
    assert!(waits > 6 && follows > 3, "{waits} {follows}");
}

#[test]
fn workload_withdraws_every_kind_of_letter() {
    let knobs = Knobs {
        lost: 30,
        late: 30,
        copied: 30,
        invalid: 30,
        jumps: 10,
        ..Knobs::default()
    };
    let knobs = Knobs { jump: 4, ..knobs };
    let config = Config {
        keep: Keep::Last,
        max_width: 3,
        max_missing: 4,
        ..streams()
    };
    let mut withdrawn = BTreeSet::new();
    let mut filled = 0;
    for seed in 0..10 {
        let files = workload::files(&mut Random::new(seed), &config, &knobs);
        let model = Model::new(&config, &files);
        let answers = model.answers(1);
        filled += model.filled_ids(1, &answers);
        for two in answers.windows(2) {
            let gone = two[0].letters.difference(&two[1].letters);
            withdrawn.extend(gone.map(|letter| letter.reason.clone()));
        }
    }
    let all = [
        "conflict",
        "duplicate",
        "gap-too-wide",
        "invalid",
        "sequence-too-sparse",
    ];
    assert_eq!(
        withdrawn.iter().map(String::as_str).collect::<Vec<_>>(),
        all
    );
    assert!(filled > 10, "{filled}");
}
