//! `differential_*`: the state against plain loops over random streams; then what it costs, and the
//! operator around it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::model::Model;
use super::*;
use crate::operators::{Label, Print};
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

fn run_case(seed: u64, met: &mut Met) {
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
        let place = format!("in epoch {epoch} of AMEND_SEED={seed} under {rules:?}");
        let (mut ours, mut models) = (Said::default(), Said::default());
        if let Some(watermark) = watermark {
            core.forget(watermark, &mut ours);
            if twice {
                core.forget(watermark, &mut ours);
            }
            model.forget(watermark, &mut models);
            assert_same(&mut ours, &mut models, &format!("on forgetting {place}"));
            met.note(epoch, &ours);
            (ours, models) = (Said::default(), Said::default());
        }
        let count = random.below(9) as u32;
        let mut rows: Vec<Row> = (0..count)
            .map(|index| producers.row(&mut random, index))
            .collect();
        model.apply(epoch, &rows, &mut models);
        core.apply(epoch, &mut rows, &mut ours);
        assert_same(&mut ours, &mut models, &place);
        met.note(epoch, &ours);
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
        _ => 1..=3000,
    };
    let (rounds, mut met) = (seeds.clone().count(), Met::default());
    for seed in seeds {
        run_case(seed, &mut met);
    }
    // The cases must be worth something: every word is said many times.
    if rounds > 1 {
        let Met {
            late,
            out_of_sequence,
            incarnations,
            gaps,
            sequences,
            last_words,
            withdrawn,
        } = met;
        let counts = [
            late,
            out_of_sequence,
            incarnations,
            gaps,
            sequences,
            last_words,
            withdrawn,
        ];
        assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
    }
}

/// How often what happened in the cases.
#[derive(Default)]
struct Met {
    late: usize,
    out_of_sequence: usize,
    /// Events of further sequences.
    incarnations: usize,
    gaps: usize,
    sequences: usize,
    last_words: usize,
    withdrawn: usize,
}

impl Met {
    fn note(&mut self, epoch: Epoch, said: &Said) {
        for verdict in &said.verdicts {
            self.late += usize::from(verdict.label == Label::Late);
            self.out_of_sequence += usize::from(verdict.label == Label::OutOfSequence);
            self.withdrawn += usize::from(verdict.diff < 0);
            let is_old = verdict.position.epoch < epoch;
            self.last_words += usize::from(is_old && !verdict.open);
        }
        for forgotten in &said.forgotten {
            match forgotten {
                Forgotten::Gap { .. } => self.gaps += 1,
                Forgotten::Sequence(_) => self.sequences += 1,
            }
        }
        self.incarnations += said.types.iter().filter(|seen| seen.0 >= 1000).count();
    }
}

fn sighting(stream: u32, id: i64, time: i64) -> Row {
    Row {
        seen: Sighting {
            stream,
            tag: 0,
            id,
            time,
            print: Print::new(2, true),
            reader: 0,
            index: id as u32,
        },
        key: Vec::new(),
    }
}

fn plain_rules() -> Rules {
    Rules {
        horizon_us: 10,
        max_ahead_us: i64::MAX,
        stream_ttl_us: i64::MAX,
        max_width: 5,
        keep: Keep::First,
        on_reset: OnReset::DeadLetter,
        tags: false,
        witnesses: false,
    }
}

/// What is queued and held must not grow with what has passed.
#[test]
fn state_is_bounded_by_what_is_retained() {
    for keep in [Keep::First, Keep::Last] {
        let rules = Rules {
            keep,
            max_width: 100,
            ..plain_rules()
        };
        let mut core = Retained::new(rules, numbers());
        let mut said = Said::default();
        for epoch in 0..300_i64 {
            core.forget(100 * epoch, &mut said);
            let mut rows: Vec<Row> = (0..100)
                .map(|n| {
                    let mut row = sighting(n as u32 % 7, 2 * (100 * epoch + n), 100 * epoch + n);
                    row.key = if n % 3 == 0 {
                        (epoch * 100 + n).to_le_bytes().to_vec()
                    } else {
                        Vec::new()
                    };
                    row
                })
                .collect();
            // An outlier that stays young for long keeps the head of a run waiting.
            rows.push(sighting(8, i64::MAX - epoch, 1_000_000));
            core.apply(epoch as u64, &mut rows, &mut said);
            said = Said::default();
        }
        assert!(core.retained_events() <= 600, "{core:?}");
        assert!(core.queued() <= 700, "{}", core.queued());
        core.forget(2_000_000, &mut said);
        assert_eq!(core.retained_events(), 0);
        assert_eq!(core.queued(), 8);
        let bytes = postcard::to_allocvec(&core.snapshot()).unwrap();
        assert!(bytes.len() < 1000, "{} bytes", bytes.len());
    }
}

#[test]
fn operator_says_on_two_workers_what_the_state_says() {
    use std::sync::{Arc, Mutex};
    use timely::dataflow::operators::{Input, Inspect};

    let rules = Rules {
        on_reset: OnReset::NewSequence,
        tags: true,
        witnesses: true,
        ..plain_rules()
    };
    let mut random = Random::new(11);
    let mut producers = Producers {
        next: [0, 40, -3],
        clock: 100,
        keyed: 0.3,
        valid: 0.7,
        sent: Vec::new(),
    };
    let mut epochs: Vec<(i64, Vec<Row>)> = Vec::new();
    for _ in 0..60 {
        let watermark = producers.clock - 5;
        let rows = (0..40).map(|index| producers.row(&mut random, index));
        epochs.push((watermark, rows.collect()));
    }
    let mut expected: Vec<String> = Vec::new();
    let mut core = Retained::new(rules.clone(), numbers());
    for (epoch, (watermark, rows)) in epochs.iter().enumerate() {
        let mut said = Said::default();
        core.forget(*watermark, &mut said);
        core.apply(epoch as u64, &mut rows.clone(), &mut said);
        let verdicts = said.verdicts.iter().map(|v| format!("{epoch} {v:?}"));
        expected.extend(verdicts);
        expected.extend(said.gaps.iter().map(|gap| format!("{epoch} {gap:?}")));
        expected.extend(said.forgotten.iter().map(|f| format!("{epoch} {f:?}")));
        expected.extend(said.witnesses.iter().map(|w| format!("0 {w:?}")));
        expected.extend(said.types.iter().map(|t| format!("0 {t:?}")));
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let out = Arc::clone(&seen);
    let given = Arc::new(epochs);
    timely::execute(timely::Config::process(2), move |worker| {
        let me = worker.index();
        let core = Rc::new(RefCell::new(Retained::new(rules.clone(), numbers())));
        let (mut row_input, mut told, mut ticks) = worker.dataflow(|scope| {
            let (row_input, rows) = scope.new_input::<Vec<Row>>();
            let (told, watermarks) = scope.new_input::<Vec<(u64, i64)>>();
            let (tick_input, ticks) = scope.new_input::<Vec<()>>();
            let on_applied = Box::new(|_, _: &Retained| {});
            let route = |stream| u64::from(stream);
            let streams = retained(rows, watermarks, ticks, route, core, on_applied);
            let note = |out: &Arc<Mutex<Vec<String>>>| {
                let out = Arc::clone(out);
                move |epoch: &Epoch, what: String| {
                    out.lock().unwrap().push(format!("{epoch} {what}"));
                }
            };
            let say = note(&out);
            streams
                .verdicts
                .inspect(move |(at, what)| say(at, format!("{what:?}")));
            let say = note(&out);
            streams
                .gaps
                .inspect(move |(gap, at, diff)| say(at, format!("{:?}", (gap, diff))));
            let say = note(&out);
            streams
                .forgotten
                .inspect(move |(at, what)| say(at, format!("{what:?}")));
            let say = note(&out);
            streams
                .witnesses
                .inspect(move |what| say(&0, format!("{what:?}")));
            let say = note(&out);
            streams
                .types
                .inspect(move |what| say(&0, format!("{what:?}")));
            (row_input, told, tick_input)
        });
        for (epoch, (watermark, rows)) in given.iter().enumerate() {
            if me == 0 {
                told.send((0, *watermark));
                told.send((1, *watermark));
            }
            for row in rows.iter().filter(|row| row.seen.reader as usize == me) {
                row_input.send(row.clone());
            }
            ticks.send(());
            let next = epoch as u64 + 1;
            row_input.advance_to(next);
            told.advance_to(next);
            ticks.advance_to(next);
            worker.step();
        }
    })
    .unwrap();
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn memory_comes_back_before_the_next_record() {
    use timely::dataflow::operators::Input;

    timely::execute_directly(|worker| {
        let core = Rc::new(RefCell::new(Retained::new(plain_rules(), numbers())));
        let applied = Rc::new(RefCell::new(Vec::new()));
        let (held, log) = (Rc::clone(&core), Rc::clone(&applied));
        let (mut row_input, mut told, mut ticks) = worker.dataflow(|scope| {
            let (row_input, rows) = scope.new_input::<Vec<Row>>();
            let (told, watermarks) = scope.new_input::<Vec<(u64, i64)>>();
            let (tick_input, ticks) = scope.new_input::<Vec<()>>();
            let on_applied = Box::new(move |epoch, core: &Retained| {
                log.borrow_mut().push((epoch, core.retained_events()));
            });
            retained(rows, watermarks, ticks, |_| 0, held, on_applied);
            (row_input, told, tick_input)
        });
        told.send((0, 100));
        (1..=3).for_each(|id| row_input.send(sighting(0, id, 100 + id)));
        ticks.send(());
        row_input.advance_to(1);
        ticks.advance_to(1);
        told.advance_to(1);
        told.send((0, 113));
        told.flush();
        for _ in 0..10 {
            worker.step();
        }
        // The ids 1 and 2 lie behind 103.
        assert_eq!(*applied.borrow(), [(0, 3)]);
        assert_eq!(core.borrow().retained_events(), 1);
    });
}
