//! `differential_*`: the state against plain loops over random streams; then what it costs, and the
//! operator around it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::model::Model;
use super::*;
use crate::operators::Print;
use crate::testing::workload::Random;

/// Numbers of further sequences that depend on the stream alone.
fn numbers() -> Incarnate {
    let mut given: HashMap<u32, u32> = HashMap::new();
    Box::new(move |stream| {
        let next = given.entry(stream).or_default();
        *next += 1;
        1000 * (stream + 1) + *next
    })
}

fn one_of<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

fn random_rules(random: &mut Random) -> Rules {
    Rules {
        horizon_us: one_of(random, &[0, 2, 5, 20, i64::MAX]),
        max_ahead_us: one_of(random, &[0, 3, 30, i64::MAX]),
        stream_ttl_us: one_of(random, &[5, 40, 200, i64::MAX]),
        max_width: one_of(random, &[0, 1, 3, 8, u64::MAX]),
        keep: one_of(random, &[Keep::First, Keep::Last]),
        on_reset: one_of(random, &[OnReset::DeadLetter, OnReset::NewSequence]),
        tags: random.chance(0.5),
        witnesses: random.chance(0.5),
    }
}

/// Draws records of a few streams whose producers go up, jump, repeat themselves and start over.
struct Producers {
    next: [i64; 3],
    clock: i64,
    keyed: f64,
    valid: f64,
    sent: Vec<Row>,
}

impl Producers {
    fn row(&mut self, random: &mut Random, index: u32) -> Row {
        self.clock += random.below(3) as i64;
        if !self.sent.is_empty() && random.chance(0.15) {
            let place = random.below(self.sent.len() as u64) as usize;
            let mut row = self.sent[place].clone();
            row.seen.index = index;
            if random.chance(0.4) {
                row.seen.print = self.print(random);
            }
            return row;
        }
        let stream = random.below(3) as usize;
        let next = &mut self.next[stream];
        *next = match random.below(40) {
            0 => 0,
            1 => i64::MAX - random.below(6) as i64,
            2 => i64::MIN + random.below(6) as i64,
            3..=5 => next.saturating_add(random.below(12) as i64),
            6..=10 => next.saturating_sub(random.below(12) as i64),
            11..=16 => next.saturating_add(2),
            _ => next.saturating_add(1),
        };
        let time = match random.below(40) {
            0 => i64::MAX,
            1 => i64::MIN,
            2..=4 => self.clock + 1000,
            5..=14 => self.clock - random.below(30) as i64,
            _ => self.clock,
        };
        let key = if random.chance(self.keyed) {
            vec![b'a' + random.below(6) as u8]
        } else {
            Vec::new()
        };
        let row = Row {
            seen: Sighting {
                stream: stream as u32,
                tag: 7 + random.below(3) as u32,
                id: *next,
                time,
                print: self.print(random),
                reader: random.below(2) as u32,
                index,
            },
            key,
        };
        self.sent.push(row.clone());
        row
    }

    fn print(&self, random: &mut Random) -> Print {
        Print::new(2 * random.below(2), random.chance(self.valid))
    }
}

fn sorted(said: &mut Said) -> &Said {
    said.verdicts.sort_unstable();
    said.gaps.sort_unstable();
    said.forgotten.sort_unstable();
    said.witnesses.sort_unstable();
    said.types.sort_unstable();
    said
}

fn assert_same(ours: &mut Said, models: &mut Said, place: &str) {
    let (ours, models) = (sorted(ours), sorted(models));
    assert_eq!(ours.verdicts, models.verdicts, "verdicts {place}");
    assert_eq!(ours.kept, models.kept, "kept {place}");
    assert_eq!(ours.gaps, models.gaps, "gaps {place}");
    assert_eq!(ours.forgotten, models.forgotten, "forgotten {place}");
    assert_eq!(ours.witnesses, models.witnesses, "witnesses {place}");
    assert_eq!(ours.types, models.types, "types {place}");
}

/// Writes down what is retained, and takes it up again.
fn restored(core: &Retained, rules: &Rules, incarnate: Incarnate) -> Retained {
    let bytes = postcard::to_allocvec(&core.snapshot()).unwrap();
    let mut states: Vec<SequenceState> = postcard::from_bytes(&bytes).unwrap();
    for state in &mut states {
        state.map_numbers(|number| number + 5, |tag| tag + 5);
        state.map_numbers(|number| number - 5, |tag| tag - 5);
    }
    let mut again = Retained::new(rules.clone(), incarnate);
    again.restore(states, core.watermark());
    again
}

fn run_case(seed: u64) {
    let mut random = Random::new(seed);
    let rules = random_rules(&mut random);
    let restores = random.chance(0.5);
    let twice = random.chance(0.3);
    let incarnate = Rc::new(RefCell::new(numbers()));
    let shared = || -> Incarnate {
        let incarnate = Rc::clone(&incarnate);
        Box::new(move |stream| incarnate.borrow_mut()(stream))
    };
    let mut core = Retained::new(rules.clone(), shared());
    let mut model = Model::new(rules.clone(), numbers());
    let mut producers = Producers {
        next: [0, 40, -3],
        clock: 100,
        keyed: one_of(&mut random, &[0.0, 0.0, 0.7, 1.0]),
        valid: one_of(&mut random, &[1.0, 0.7, 0.2]),
        sent: Vec::new(),
    };
    let mut watermark: Option<i64> = None;
    for epoch in 0..random.below(25) {
        if watermark.is_some() || random.chance(0.6) {
            let told = match random.below(60) {
                0 => i64::MIN,
                1 if random.chance(0.2) => i64::MAX,
                2 => producers.clock + 100,
                _ => producers.clock - random.below(10) as i64,
            };
            watermark = watermark.max(Some(told));
        }
        let place = format!("in epoch {epoch} of seed {seed} under {rules:?}");
        let (mut ours, mut models) = (Said::default(), Said::default());
        if let Some(watermark) = watermark {
            core.forget(watermark, &mut ours);
            if twice {
                core.forget(watermark, &mut ours);
            }
            model.forget(watermark, &mut models);
            assert_same(&mut ours, &mut models, &format!("on forgetting {place}"));
        }
        let count = random.below(9) as u32;
        let mut rows: Vec<Row> = (0..count)
            .map(|index| producers.row(&mut random, index))
            .collect();
        model.apply(epoch, &rows, &mut models);
        core.apply(epoch, &mut rows, &mut ours);
        assert_same(&mut ours, &mut models, &place);
        assert_eq!(core.retained_events(), model.retained_events(), "{place}");
        if restores && random.chance(0.3) {
            core = restored(&core, &rules, shared());
            assert_eq!(core.retained_events(), model.retained_events(), "{place}");
        }
    }
}

#[test]
fn differential_state_equals_plain_loops() {
    let seeds = match std::env::var("AMEND_SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => seed..=seed,
        _ => 1..=6000,
    };
    for seed in seeds {
        run_case(seed);
    }
}
