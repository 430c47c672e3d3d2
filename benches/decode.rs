//! Events decoded a second on one core, beside a parse to `serde_json::Value` alone.

use std::hint::black_box;

use amend::event::{Decoder, EventSpec, FieldPath};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// As many records as the decoder sees before the same one comes again.
const RECORDS: i64 = 1_000;

criterion_group!(benches, decode);
criterion_main!(benches);

fn decode(c: &mut Criterion) {
    compare(c, "flat", &|nth| {
        format!(
            r#"{{"event_id":{},"stream":"s{}","type":"LeadCreated","timestamp":"2025-02-09T12:{:02}:{:02}","valid":true}}"#,
            1_000_000 + nth,
            nth % 64,
            nth / 60 % 60,
            nth % 60,
        )
    });
    compare(c, "nested", &|nth| {
        format!(
            r#"{{"event_id":{},"stream":"builds","type":"BuildFinished","timestamp":"2025-02-09T12:{:02}:{:02}","valid":true,"actor_id":{},"repo":"north/lantern","payload":{{"ref":"refs/heads/main","build":{},"size":4,"labels":["ci","nightly"],"steps":[{{"name":"check","ms":{}}}]}}}}"#,
            1_000_000 + nth,
            nth / 60 % 60,
            nth % 60,
            1_300_000 + nth,
            530_000_000 + nth,
            nth * 7,
        )
    });
    compare(c, "escaped", &|nth| {
        format!(
            r#"{{"event_id":{},"stream":"s{}","type":"LeadCreated","timestamp":"2025-02-09T12:00:{:02}","valid":true,"note":"said \"yes\"\nat \u0031{}"}}"#,
            1_000_000 + nth,
            nth % 64,
            nth % 60,
            nth % 10,
        )
    });
}

fn compare(c: &mut Criterion, name: &str, record: &dyn Fn(i64) -> String) {
    let records: Vec<String> = (0..RECORDS).map(record).collect();
    let mut decoder = Decoder::new(spec());
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("decoder", |b| {
        b.iter(|| {
            records.iter().fold(0, |sum, record| {
                let event = decoder.decode(black_box(record.as_bytes()));
                event.map_or(0, |event| sum ^ event.id ^ event.time.0)
            })
        });
    });
    group.bench_function("serde_json::Value", |b| {
        b.iter(|| {
            for record in &records {
                let value = serde_json::from_str::<serde_json::Value>(black_box(record));
                black_box(value.is_ok());
            }
        });
    });
    group.finish();
}

fn spec() -> EventSpec {
    EventSpec {
        stream: vec![FieldPath::Name("stream".to_owned())],
        ..EventSpec::default()
    }
}
