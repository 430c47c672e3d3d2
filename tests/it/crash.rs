//! Kills the binary at random moments while it reads files, a growing file or a pipe, starts it
//! again on its journal with other workers and other epochs, and compares what it has published in
//! the end with one uninterrupted run without a journal.
//!
//! A moment is drawn from the time that recovery takes, or from the time after it, and how many
//! kills fell where is counted by what each run had said and written when it died: a test that
//! kills too early or too late to matter fails.

use std::fs::File;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::journaled::{self, Inspected, Plan, Site};
use crate::model::{Config, Keep, OnReset, StreamField};
use crate::process;
use crate::published::Published;
use crate::victim::{Feeder, Piece, Victim};
use crate::workload::{self, Knobs, Random};

/// Kills of one case.
const KILLS: usize = 16;

/// How often all cases are run, with other inputs, until there are kills enough. A machine on
/// which runs end before they are killed needs more than one round.
const ROUNDS: u64 = 4;

/// What all cases together must have, for each seed.
const ENOUGH: Tally = Tally {
    kills: 200,
    after_commit: 150,
    in_recovery: 30,
};

/// A dataflow that is killed.
struct Rules {
    name: &'static str,
    config: fn() -> Config,
    /// The records in every epoch of every run, where the answer depends on where epochs cut.
    cut: Option<usize>,
}

const RULES: [Rules; 5] = [
    Rules {
        name: "default rules",
        config: streams,
        cut: None,
    },
    Rules {
        name: "keep = \"last\"",
        config: || Config {
            keep: Keep::Last,
            ..streams()
        },
        cut: None,
    },
    Rules {
        name: "a key of other fields",
        config: || Config {
            key: Some(vec!["uuid".into()]),
            ..streams()
        },
        cut: None,
    },
    Rules {
        name: "a grace",
        config: || Config {
            grace_ms: 30_000,
            disorder_ms: 5_000,
            ..streams()
        },
        cut: None,
    },
    Rules {
        name: "a horizon",
        config: || Config {
            horizon_ms: Some(60_000),
            stream_ttl_ms: Some(120_000),
            on_reset: OnReset::NewSequence,
            ..streams()
        },
        cut: Some(20),
    },
];

fn streams() -> Config {
    Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    }
}

/// What the binary reads while it is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Input {
    /// Several files, one of them compressed.
    Files,
    /// A file that grows, after one that does not.
    Growing,
    /// A pipe that is given what the journal does not have.
    Pipe,
    /// A pipe that is given everything each time.
    PipeFromStart,
}

const INPUTS: [Input; 4] = [
    Input::Files,
    Input::Growing,
    Input::Pipe,
    Input::PipeFromStart,
];

/// How many kills, and how many of them fell where.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    kills: usize,
    /// Something had been journaled for good.
    after_commit: usize,
    /// The run had something to recover and had not said that it was done.
    in_recovery: usize,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.kills += other.kills;
        self.after_commit += other.after_commit;
        self.in_recovery += other.in_recovery;
    }

    fn is_enough(&self) -> bool {
        self.kills >= ENOUGH.kills
            && self.after_commit >= ENOUGH.after_commit
            && self.in_recovery >= ENOUGH.in_recovery
    }
}

#[test]
fn runs_that_are_killed_publish_what_one_run_publishes() {
    for seed in workload::seeds(1) {
        let mut tally = Tally::default();
        for round in 0..ROUNDS {
            if !tally.is_enough() {
                tally.add(all_cases(seed, round));
            }
        }
        assert!(
            tally.is_enough(),
            "{tally:?}, where {ENOUGH:?} are needed\nAMEND_SEED={seed}"
        );
    }
}

/// Runs every case, two at a time.
fn all_cases(seed: u64, round: u64) -> Tally {
    let cases: Vec<(&Rules, Input)> = RULES
        .iter()
        .flat_map(|rules| INPUTS.map(|input| (rules, input)))
        // The end of a file that will grow ends an epoch, so no cut would be kept.
        .filter(|(rules, input)| rules.cut.is_none() || *input != Input::Growing)
        .collect();
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    let work = || {
        while let Some((rules, input)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let of_case = Trial::new(rules, *input, seed, round).run();
            let of_case = of_case.unwrap_or_else(|error| {
                panic!("{}, {input:?}: {error}\nAMEND_SEED={seed}", rules.name)
            });
            tally.lock().unwrap().add(of_case);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    *tally.lock().unwrap()
}

/// One dataflow with its journal, from its first run to its end.
struct Trial {
    cut: Option<usize>,
    input: Input,
    random: Random,
    site: Site,
    /// What the growing file will have, or what is piped.
    content: Vec<u8>,
    /// The bytes of it that the growing file has.
    given: usize,
    /// Whether runs are told that this is all the input; from then on they always are.
    is_final: bool,
    /// The records of all inputs, but for those of the growing file.
    records_elsewhere: u64,
    pace: Pace,
    tally: Tally,
}

/// How fast runs were: moments are drawn from it.
struct Pace {
    /// The milliseconds from a start to the end of its recovery.
    recovery: usize,
    /// The time to give a run before it is known how fast runs read; it grows with each that is
    /// killed before it has journaled anything.
    patience: usize,
    /// The milliseconds between the end of recovery and death, and the records read then.
    reading: usize,
    records: u64,
}

impl Trial {
    fn new(rules: &Rules, input: Input, seed: u64, round: u64) -> Trial {
        let mut random = Random::new(seed * ROUNDS + round);
        let config = (rules.config)();
        let names: &[&str] = match input {
            Input::Files => &["a.jsonl", "b.jsonl.gz", "c.jsonl"],
            Input::Growing => &["a.jsonl.gz", "b.jsonl"],
            Input::Pipe | Input::PipeFromStart => &["a.jsonl"],
        };
        let knobs = Knobs {
            events: 2200,
            streams: 5,
            files: names.len(),
            jumps: 1,
            ..Knobs::default()
        };
        let mut contents = journaled::contents(&mut random, &config, &knobs);
        let site = Site::new(&config, names);
        let mut content = Vec::new();
        if input != Input::Files {
            content = contents.pop().unwrap_or_default();
            site.write(names[contents.len()], "");
        }
        for (name, content) in names.iter().zip(&contents) {
            site.write(name, content);
        }
        let counts = contents
            .iter()
            .map(|content| journaled::record_count(content));
        Trial {
            cut: rules.cut,
            input,
            is_final: input != Input::Growing && random.percent(50),
            records_elsewhere: counts.sum(),
            random,
            site,
            content,
            given: 0,
            pace: Pace {
                recovery: 30,
                patience: 60,
                reading: 0,
                records: 0,
            },
            tally: Tally::default(),
        }
    }

    /// Kills runs until there were kills enough, lets the last one end, and compares.
    fn run(mut self) -> Result<Tally, String> {
        let mut known = None;
        for turn in 0.. {
            // Runs that end before they are killed cost time as well.
            let is_left_alone = self.tally.kills >= KILLS || turn >= 4 * KILLS;
            let (mut victim, feeder, plan) = self.start(known.as_ref(), is_left_alone);
            let moment = (!is_left_alone).then(|| self.strike(&mut victim, known.as_ref()));
            let death = match moment {
                Some(_) => victim.kill(),
                None => victim.wait(),
            };
            let fed = feeder.map_or(0, Feeder::stop);
            if self.input == Input::Growing {
                self.given += fed;
            }
            let had_frames = has_frames(known.as_ref());
            let before = known.as_ref().map_or(0, |known| known.records);
            known = self.inspect();
            if death.was_killed {
                self.tally.kills += 1;
                self.tally.after_commit += usize::from(has_frames(known.as_ref()));
                self.tally.in_recovery += usize::from(had_frames && !death.has_recovered());
                match moment {
                    Some(Moment::Reading(ticks)) if had_frames => {
                        let after = known.as_ref().map_or(0, |known| known.records);
                        self.pace.reading += ticks;
                        self.pace.records += after.saturating_sub(before);
                    }
                    _ if !has_frames(known.as_ref()) => self.pace.patience *= 2,
                    _ => {}
                }
                continue;
            }
            if death.code != Some(0) {
                return Err(format!(
                    "{plan:?} ended with {:?} after {} kills: {}",
                    death.code, self.tally.kills, death.stderr
                ));
            }
            if plan.is_final {
                break;
            }
            self.is_final |= self.input != Input::Growing || self.given == self.content.len();
        }
        self.site.published().check(&self.reference())?;
        Ok(self.tally)
    }

    /// Starts a run, and what feeds it.
    fn start(
        &mut self,
        known: Option<&Inspected>,
        is_left_alone: bool,
    ) -> (Victim, Option<Feeder>, Plan) {
        let mut plan = Plan::random(&mut self.random);
        // An epoch of all there is leaves little to kill.
        if plan.epoch.is_none() && !is_left_alone && self.random.percent(70) {
            plan.epoch = Some(7);
        }
        plan.epoch = self.cut.or(plan.epoch);
        let mut grown = Vec::new();
        if self.input == Input::Growing {
            grown = self.grow(is_left_alone);
            self.is_final |= grown.is_empty() && self.given == self.content.len();
        } else {
            self.is_final |= is_left_alone;
        }
        plan.is_final = self.is_final;
        let mut command = self.site.journaled(plan);
        let piped = match self.input {
            Input::Files | Input::Growing => None,
            Input::Pipe => Some(known.map_or(0, Inspected::stdin_offset)),
            Input::PipeFromStart => {
                command.arg("--stdin-from-start");
                Some(0)
            }
        };
        if piped.is_some() {
            command.args(["--input", "-"]).stdin(Stdio::piped());
        }
        let mut victim = Victim::start(&mut command);
        let feeder = match (piped, victim.stdin()) {
            (Some(from), Some(stdin)) => {
                let rest = self.content[from..].to_vec();
                Some(Feeder::start(stdin, self.pieces(&rest, 40_000)))
            }
            _ if !grown.is_empty() => {
                let file = File::options().append(true).open(self.site.path("b.jsonl"));
                Some(Feeder::start(file.unwrap(), grown))
            }
            _ => None,
        };
        (victim, feeder, plan)
    }

    /// Lets the file grow before a run; what it is to grow by during the run.
    fn grow(&mut self, is_left_alone: bool) -> Vec<Piece> {
        let rest = self.content.len() - self.given;
        if is_left_alone {
            self.site.append("b.jsonl", &self.content[self.given..]);
            self.given = self.content.len();
            return Vec::new();
        }
        let kills_left = KILLS - self.tally.kills;
        let mut share = || (1 + self.random.below(2 * rest / kills_left + 1000)).min(rest);
        let (before, during) = (share(), share());
        let now = &self.content[self.given..self.given + before];
        self.site.append("b.jsonl", now);
        self.given += before;
        let later = self.content[self.given..].iter().take(during).copied();
        let later: Vec<u8> = later.collect();
        self.pieces(&later, 2_000)
    }

    /// Cuts bytes into pieces of up to `most`, within lines as well as between them.
    fn pieces(&mut self, mut rest: &[u8], most: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let mut end = 1 + self.random.below(most.min(rest.len()));
            if self.random.percent(50) {
                let newline = rest[..end].iter().rposition(|&byte| byte == b'\n');
                end = newline.map_or(end, |newline| newline + 1);
            }
            let (piece, after) = rest.split_at(end);
            pieces.push((piece.to_vec(), self.random.below(4) as u64));
            rest = after;
        }
        pieces
    }

    /// Lets a run live until the moment of its death.
    fn strike(&mut self, victim: &mut Victim, known: Option<&Inspected>) -> Moment {
        let has_frames = has_frames(known);
        if has_frames && self.random.percent(40) {
            victim.live(self.random.below(self.pace.recovery + 1));
            return Moment::Recovery;
        }
        if has_frames {
            let ticks = victim.live_until_recovered();
            self.pace.recovery = (self.pace.recovery + ticks).div_ceil(2);
        }
        let ticks = self.random.below(self.reading_ticks(known) + 1);
        victim.live(ticks);
        Moment::Reading(ticks)
    }

    /// The time from which to draw how long a run reads, such that the input lasts for all kills.
    fn reading_ticks(&self, known: Option<&Inspected>) -> usize {
        if self.pace.records == 0 {
            return self.pace.patience;
        }
        let there = match self.input {
            Input::Growing => &self.content[..self.given],
            Input::Files => &[],
            Input::Pipe | Input::PipeFromStart => &self.content[..],
        };
        let records = self.records_elsewhere + journaled::record_count(there);
        let left = records.saturating_sub(known.map_or(0, |known| known.records)) as usize;
        let share = match self.input {
            Input::Growing => left,
            _ => 2 * left / (KILLS - self.tally.kills + 1),
        };
        (share * self.pace.reading / self.pace.records as usize).clamp(2, 5_000)
    }

    /// What is known of the journal; nothing where a run died before it had made one.
    fn inspect(&self) -> Option<Inspected> {
        let is_there = self.site.path("journal").exists() && !self.site.segments().is_empty();
        is_there.then(|| self.site.inspect())
    }

    /// What one uninterrupted run without a journal publishes.
    fn reference(&self) -> Published {
        let mut command = self.site.plain("reference");
        Plan {
            epoch: self.cut,
            ..Plan::to_the_end(0)
        }
        .add_to(&mut command);
        if matches!(self.input, Input::Pipe | Input::PipeFromStart) {
            self.site.write("a.jsonl", &self.content);
            let file = File::open(self.site.path("a.jsonl")).unwrap();
            command.args(["--input", "-"]).stdin(file);
        }
        process::run(&mut command).expect_code(0);
        Published::read(&self.site.path("reference"))
    }
}

/// When a run was to die.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Recovery,
    /// So many milliseconds after its recovery.
    Reading(usize),
}

fn has_frames(known: Option<&Inspected>) -> bool {
    known.is_some_and(|known| known.next_epoch > 0)
}
