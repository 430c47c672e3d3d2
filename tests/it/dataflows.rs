//! The dataflow files of the repository run, and give what their comments promise.

use std::path::Path;

use crate::json::Json;
use crate::process;

/// The text of each file that a run of `dataflows/<name>.toml` leaves.
struct Ran {
    folder: tempfile::TempDir,
}

impl Ran {
    #[track_caller]
    fn new(name: &str) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        let flow = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("dataflows")
            .join(name);
        let mut command = process::amend();
        command
            .arg("run")
            .arg(flow)
            .arg("--out")
            .arg(folder.path())
            .args(["-w", "2", "--quiet"]);
        process::run(command.args(["--epoch-events", "1000"])).expect_code(0);
        Ran { folder }
    }

    #[track_caller]
    fn file(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[track_caller]
    fn reported(&self, path: &str) -> String {
        let report = Json::read(self.file("report.json").as_bytes()).unwrap();
        report.find(path).map(Json::canonical).unwrap_or_default()
    }
}

#[test]
fn linq_gives_the_worked_example() {
    let ran = Ran::new("linq.toml");
    let expected = r#"
{"event_id":1001,"type":"LeadCreated","timestamp":"2025-02-09T12:00:00","valid":true}
{"event_id":1002,"type":"CRM_Sync","timestamp":"2025-02-09T12:01:00","valid":true}
{"event_id":1004,"type":"LeadCreated","timestamp":"2025-02-09T12:02:00","valid":true}
{"event_id":1005,"type":"CRM_Sync","timestamp":"2025-02-09T12:03:00","valid":true}
{"event_id":1005,"type":"CRM_Sync","timestamp":"2025-02-09T12:03:01","valid":true}
{"event_id":1007,"type":"Transaction","timestamp":"2025-02-09T12:04:00","valid":true}
{"event_id":1003,"type":"CRM_Sync","timestamp":"2025-02-09T12:01:30","valid":true,"amend":{"origin":"reconstructed"}}
"#;
    assert_eq!(ran.file("clean.jsonl"), expected.trim_start());

    let dead = ran.file("dead.jsonl");
    let mut letters: Vec<String> = dead
        .lines()
        .map(|line| {
            let letter = Json::read(line.as_bytes()).unwrap();
            let part = |path: &str| letter.find(path).map(Json::canonical).unwrap_or_default();
            let (line, id) = (part("/source/line"), part("/event/event_id"));
            format!("{line} {} {id}", part("reason"))
        })
        .collect();
    letters.sort();
    let expected = [
        r#"3 "duplicate" 1002"#,
        r#"7 "invalid" 1006"#,
        r#"8 "duplicate" 1006"#,
        r#"9 "missing-id" "#,
    ];
    assert_eq!(letters, expected);

    let changes = ran.file("changes.jsonl");
    assert_eq!(changes.lines().count(), 7);
    assert!(
        changes
            .lines()
            .all(|line| line.contains(r#""op":"insert""#)),
        "{changes}"
    );
    assert_eq!(ran.reported("/read"), "10");
    assert_eq!(ran.reported("/kept"), "6");
    assert_eq!(ran.reported("/reconstructed"), "1");
    assert_eq!(
        ran.reported("/dead"),
        r#"{"duplicate":2,"invalid":1,"missing-id":1}"#
    );
    assert_eq!(
        ran.reported("/gaps"),
        r#"{"filled_ids":0,"missing_ids":1,"open":1}"#
    );
}

#[test]
fn github_reports_its_gaps() {
    let ran = Ran::new("github.toml");
    assert_eq!(ran.reported("/kept"), "1000");
    assert_eq!(ran.reported("/gaps/missing_ids"), "2247");
    assert_eq!(ran.reported("/dead"), "{}");
    assert!(ran.file("gaps.jsonl").lines().count() > 100);
}

#[test]
fn trades_keeps_trades_and_tickers() {
    let ran = Ran::new("trades.toml");
    assert_eq!(ran.reported("/kept"), "214");
    assert_eq!(ran.reported("/gaps/missing_ids"), "13222");
    assert_eq!(ran.reported("/dead"), r#"{"missing-id":9719}"#);
}
