//! Streams that were recorded in the wild agree with the model, and with what is known of them.

use std::path::Path;

use crate::harness::{Case, Plan};
use crate::model::{Config, Keep, StreamField};

fn case(file: &str, config: Config) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("dataflows/data")
        .join(file);
    let content = std::fs::read(&path).unwrap();
    Case {
        config,
        files: vec![(file.into(), content)],
    }
}

/// Each product, feed or repository is a stream.
fn streams() -> Config {
    Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    }
}

#[track_caller]
fn check(case: &Case) {
    let plans = [
        Plan {
            workers: 2,
            epoch: Some(1000),
        },
        Plan {
            workers: 1,
            epoch: Some(1_000_000),
        },
        Plan {
            workers: 4,
            epoch: None,
        },
    ];
    if let Err(error) = case.check(&plans) {
        panic!("{error}");
    }
}

#[test]
fn github_events_miss_what_is_not_public() {
    let case = case("gharchive.jsonl", streams());
    let answer = case.model().last_answer();
    assert_eq!((answer.kept.len(), answer.missing_ids()), (1000, 2247));
    assert_eq!(answer.reconstructed.len(), 2247);
    assert!(answer.letters.is_empty());
    check(&case);
}

#[test]
fn trades_and_tickers_share_their_ids() {
    let case = case("coinbase.jsonl", streams());
    let answer = case.model().last_answer();
    assert_eq!(answer.missing_ids(), 13_222);
    let dead = [
        ("conflict".to_string(), 107),
        ("missing-id".to_string(), 9719),
    ];
    assert_eq!(answer.dead(), dead.into());
    check(&case);
}

#[test]
fn trades_are_kept_with_their_tickers_where_the_key_has_the_type() {
    let key = ["event_id", "timestamp", "type"].map(String::from);
    let case = case(
        "coinbase.jsonl",
        Config {
            key: Some(key.into()),
            ..streams()
        },
    );
    let answer = case.model().last_answer();
    assert_eq!((answer.kept.len(), answer.missing_ids()), (214, 13_222));
    assert_eq!(answer.dead(), [("missing-id".to_string(), 9719)].into());
    check(&case);
}

#[test]
fn futures_agree_with_the_model() {
    check(&case("krakenfut.jsonl", streams()));
}

#[test]
fn trades_keyed_by_uuid_agree_with_the_model() {
    check(&case(
        "krakenfut.jsonl",
        Config {
            key: Some(vec!["uuid".into()]),
            ..streams()
        },
    ));
}

#[test]
fn a_damaged_book_agrees_with_the_model() {
    check(&case("krakenfut_book_damaged.jsonl", streams()));
}

#[test]
fn a_damaged_book_agrees_with_the_model_under_a_grace() {
    let config = Config {
        grace_ms: 2_000,
        disorder_ms: 500,
        ..streams()
    };
    check(&case("krakenfut_book_damaged.jsonl", config));
}

#[test]
fn changes_of_rows_agree_with_the_model() {
    // A row's key comes again with each change of the row; the log's position does not.
    let by_position = Config {
        id: "lsn".into(),
        max_width: 40,
        ..streams()
    };
    let case = case("debezium_orders.jsonl", by_position);
    check(&case);
    let last_of_row = Config {
        key: Some(vec!["event_id".into()]),
        keep: Keep::Last,
        ..streams()
    };
    check(&Case {
        config: last_of_row,
        ..case
    });
}
