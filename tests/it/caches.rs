//! The column caches beside a journal's closed segments: whether they are there, or damaged, or of
//! other content, changes nothing that is published.

use std::path::PathBuf;

use crate::journaled::{self, Plan, Site};
use crate::model::{Config, Fill, Keep, StreamField};
use crate::workload::{self, Knobs, Random};

const FILE: &str = "a.jsonl";
const SMALL_SEGMENTS: &str = "\n[journal]\nsegment = \"16KiB\"\n";

fn configs() -> [Config; 3] {
    let streams = Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    };
    let grace = Config {
        grace_ms: 30_000,
        ..streams.clone()
    };
    let keep_last = Config {
        keep: Keep::Last,
        ..streams.clone()
    };
    [streams, grace, keep_last]
}

/// The content of a random file whose last line is whole.
fn content(random: &mut Random, config: &Config) -> Vec<u8> {
    let knobs = Knobs {
        events: 900,
        streams: 4,
        files: 1,
        lost: 15,
        late: 20,
        ..Knobs::default()
    };
    let mut content = journaled::contents(random, config, &knobs).remove(0);
    content.push(b'\n');
    content
}

/// The caches of the closed segments, which need not be there.
fn caches(site: &Site) -> Vec<PathBuf> {
    let mut segments = site.segments();
    segments.pop();
    let caches = segments.iter().map(|name| name.replace(".seg", ".cols"));
    caches.map(|name| site.path(&name)).collect()
}

/// What is done to the caches before a run.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Nothing,
    /// They are all deleted.
    Deleted,
    /// Every second one is deleted.
    SomeDeleted,
    /// A bit of each is flipped.
    Flipped,
    /// Each is cut short.
    CutShort,
    /// Each lies where that of the next segment should.
    Exchanged,
    /// There are folders in their places.
    Folders,
}

const HARMS: [Harm; 7] = [
    Harm::Nothing,
    Harm::Deleted,
    Harm::SomeDeleted,
    Harm::Flipped,
    Harm::CutShort,
    Harm::Exchanged,
    Harm::Folders,
];

fn harm(random: &mut Random, site: &Site, harm: Harm) {
    let caches = caches(site);
    let contents: Vec<Vec<u8>> = caches
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    for (nth, path) in caches.iter().enumerate() {
        let mut bytes = contents[nth].clone();
        match harm {
            Harm::Nothing => continue,
            Harm::SomeDeleted if nth % 2 == 0 => continue,
            Harm::Deleted | Harm::SomeDeleted | Harm::Folders => {
                std::fs::remove_file(path).unwrap();
                if matches!(harm, Harm::Folders) {
                    std::fs::create_dir(path).unwrap();
                }
                continue;
            }
            Harm::Flipped => {
                let places: Vec<usize> = (0..bytes.len()).collect();
                bytes[*random.pick(&places)] ^= 4;
            }
            Harm::CutShort => bytes.truncate(bytes.len() * 2 / 3),
            Harm::Exchanged => bytes.clone_from(&contents[(nth + 1) % contents.len()]),
        }
        std::fs::write(path, bytes).unwrap();
    }
}

/// Fails unless every closed segment has a cache; returns their contents.
#[track_caller]
fn expect_caches(site: &Site, when: &str) -> Vec<Vec<u8>> {
    let read = |path: PathBuf| {
        std::fs::read(&path).unwrap_or_else(|error| panic!("{when}: {}: {error}", path.display()))
    };
    caches(site).into_iter().map(read).collect()
}

#[test]
fn caches_change_nothing_but_speed() {
    for seed in workload::seeds(1) {
        for config in configs() {
            let mut random = Random::new(seed);
            let content = content(&mut random, &config);
            let half = content.len() / 2;
            let half = half
                + content[half..]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .unwrap()
                + 1;
            let site = Site::new(&config, &[FILE]);
            site.set_rules(&config, &[FILE], SMALL_SEGMENTS);
            site.append(FILE, &content[..half]);
            site.run(Plan::random(&mut random));
            site.append(FILE, &content[half..]);
            site.run(Plan::random(&mut random));
            let when = format!("{config:?}, AMEND_SEED={seed}");
            site.check(&when);
            expect_caches(&site, &when);
            assert!(site.segments().len() > 3, "{:?}", site.segments());
            for harm_done in HARMS {
                for anew in [false, true] {
                    let plan = Plan::random(&mut random);
                    let when = format!("{harm_done:?}, {anew}, {plan:?}, {when}");
                    harm(&mut random, &site, harm_done);
                    if anew {
                        std::fs::remove_dir_all(site.path("out")).unwrap();
                    }
                    site.run(plan);
                    site.check(&when);
                    if matches!(harm_done, Harm::Folders) {
                        // They stay as they are, and no run fails over it.
                        for path in caches(&site).iter().filter(|path| path.is_dir()) {
                            std::fs::remove_dir(path).unwrap();
                        }
                        site.run(plan);
                    }
                    expect_caches(&site, &when);
                }
            }
        }
    }
}

#[test]
fn what_stopped_attempts_left_is_removed() {
    let config = Config::default();
    let mut random = Random::new(1);
    let site = Site::new(&config, &[FILE]);
    site.set_rules(&config, &[FILE], SMALL_SEGMENTS);
    site.append(FILE, &content(&mut random, &config));
    site.run(Plan::to_the_end(50));
    let before = expect_caches(&site, "the first run");
    site.write("journal/00000000000000000001.cols.tmp", "a part of a cache");
    site.write("journal/00000000000000009999.cols", "of no segment");
    site.write("journal/notes.tmp", "of somebody else");
    site.run(Plan::to_the_end(50));
    let is_there = |name: &str| site.path(&format!("journal/{name}")).exists();
    assert!(!is_there("00000000000000000001.cols.tmp"));
    assert!(!is_there("00000000000000009999.cols"));
    assert!(is_there("notes.tmp"));
    // What fits is not written again.
    assert!(before == expect_caches(&site, "the second run"));
}

/// Types are numbered for the caches though no row carries them, and those that are not met for long
/// are let go. The one that missing events take is not, even if it was met.
#[test]
fn the_type_of_missing_events_outlives_those_let_go() {
    let config = Config {
        fill: Fill::Fixed("Ghost".into()),
        ..Config::default()
    };
    let site = Site::new(&config, &["a.jsonl"]);
    // More types than are kept however old, in more epochs than they are kept for; then a gap.
    let content: String = (0..12_000)
        .map(|nth| {
            let kind = match nth {
                0 => "Ghost".to_owned(),
                nth => format!("T{nth}"),
            };
            let id = if nth < 11_990 { nth } else { nth + 1 };
            format!(
                "{{\"event_id\":{id},\"type\":\"{kind}\",\"timestamp\":\"2026-01-01T00:00:00Z\"}}\n"
            )
        })
        .collect();
    site.write("a.jsonl", content);
    site.run(Plan {
        workers: 1,
        epoch: Some(100),
        is_final: true,
    });
    site.check("many types");
    let clean = String::from_utf8(site.read("out/clean.jsonl")).unwrap();
    // What was read, and what was missing.
    assert_eq!(clean.matches(r#""type":"Ghost""#).count(), 2);
}
