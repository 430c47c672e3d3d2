//! The example dataflows, run as a user does: what they print is the same for one worker and for
//! four, and is what can be worked out from their data by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::process;

/// The folder of the example binaries.
///
/// `cargo test` builds them, `cargo test --test it` does not: so they are built here, which takes no
/// time where they are there.
fn examples() -> &'static Path {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        // This binary is <target>/<profile>/deps/it-<hash>.
        let own = std::env::current_exe().unwrap();
        let of_profile = own.ancestors().nth(2).unwrap();
        let profile = match of_profile.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut build = Command::new(env!("CARGO"));
        build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--offline", "--quiet", "--examples"])
            .args(["--profile", profile, "--target-dir"])
            .arg(of_profile.parent().unwrap());
        let built = build.output().expect("cargo starts");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "the examples do not build: {said}");
        of_profile.join("examples")
    })
}

#[track_caller]
fn check(example: &str, expected: &str) {
    for workers in ["1", "4"] {
        let mut command = Command::new(examples().join(example));
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["--workers", workers, "--check-determinism"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ended = process::run(&mut command);
        ended.expect_code(0);
        let printed = String::from_utf8_lossy(&ended.stdout);
        assert_eq!(printed, expected, "{example} with {workers} workers");
    }
}

#[test]
fn word_count() {
    check(
        "word_count",
        "\
and      1
brings   1
crosses  1
does     1
down     1
keeps    1
ledger   1
miller   3
no       1
out      1
river    3
takes    1
the      6
what     2
writes   1
",
    );
}

/// The panes are those of figure 13 of the paper. The figure draws a pane only where its value is
/// new, so that the on-time panes that repeat an early one (12:07:40 and 12:09:21) are not in it.
#[test]
fn team_scores() {
    check(
        "team_scores",
        "\
at          window         pane     points
12:05:58.8  12:00 - 12:02  on time      +5
12:06:00    12:02 - 12:04  early        +7
12:07:00    12:02 - 12:04  early        -7
12:07:00    12:02 - 12:04  early       +14
12:07:00    12:04 - 12:06  early        +3
12:07:30    12:02 - 12:04  early       -14
12:07:30    12:02 - 12:04  on time     +22
12:07:40    12:04 - 12:06  early        -3
12:07:40    12:04 - 12:06  on time      +3
12:08:00    12:06 - 12:08  early        +3
12:08:20    12:00 - 12:02  on time      -5
12:08:20    12:00 - 12:02  late        +14
12:09:00    12:06 - 12:08  early        -3
12:09:00    12:06 - 12:08  early       +12
12:09:21    12:06 - 12:08  early       -12
12:09:21    12:06 - 12:08  on time     +12
all points printed                      51
",
    );
}

/// A session ends ten minutes after its last click: 12:06 is 16 minutes before 12:22, and the click
/// at 12:14 is 8 minutes from either.
#[test]
fn sessions() {
    check(
        "sessions",
        "\
+ ann 12:00 - 12:16  home, shoes
+ bob 12:03 - 12:13  home
+ ann 12:22 - 12:34  basket, paid
- ann 12:00 - 12:16  home, shoes
- ann 12:22 - 12:34  basket, paid
+ ann 12:00 - 12:34  home, shoes, red shoes, basket, paid  (late)
",
    );
}

/// The second of March is judged when both feeds have a line of the third. The payment of o2, dated
/// on the second, is the line of the bank after that.
#[test]
fn orders_ledger() {
    check(
        "orders_ledger",
        "\
+ 2026-03-02  o1  paid 25.00
+ 2026-03-02  o2  not paid: 40.00
+ 2026-03-02  o3  paid 10.00 of 12.50
+ 2026-03-02  o4  paid 9.90
+ 2026-03-02  o9  paid 5.50, but never ordered
- 2026-03-02  o2  not paid: 40.00
+ 2026-03-02  o2  paid 40.00  (late)
+ 2026-03-03  o5  paid 31.00
+ 2026-03-03  o6  not paid: 7.00
",
    );
}

/// The lines that are not early were checked with a plain count over the two files. An early line
/// holds what came before the first event that is at least half a minute into its window.
#[test]
fn top_repos() {
    check(
        "top_repos",
        "\
+ 01:00 early  2 wrdrd/docs, 2 tardate/visual555, 2 russmatney/dotfiles
- 01:00 early  2 wrdrd/docs, 2 tardate/visual555, 2 russmatney/dotfiles
+ 01:00        7 rust-lang/rust, 5 python/cpython, 4 rohatiro/apis
+ 01:01 early  2 VHAINNOVATIONS/Mental-Health-eScreening, 1 xkyouchoux/dh, 1 ww44ss/Titanic
- 01:01 early  2 VHAINNOVATIONS/Mental-Health-eScreening, 1 xkyouchoux/dh, 1 ww44ss/Titanic
+ 01:01        2 jlumijarvi/csv2xml, 2 jl4282/swirlwebsite, 2 hearsaycorp/normalize
+ 01:02 early  2 wxv/Items-Index, 1 wangshan/wangshan.github.io, 1 unzan/TerribleName
- 01:02 early  2 wxv/Items-Index, 1 wangshan/wangshan.github.io, 1 unzan/TerribleName
+ 01:02        3 AsteroidStation/-tg-station, 2 wxv/Items-Index, 2 wangshan/wangshan.github.io
+ 01:03 early  2 machine-intelligence/research-forum, 2 joelpurra/jqnpm, 2 harveyt/harveyt.github.io
- 01:03 early  2 machine-intelligence/research-forum, 2 joelpurra/jqnpm, 2 harveyt/harveyt.github.io
+ 01:03        4 joelpurra/jqnpm, 2 python-pillow/Pillow, 2 machine-intelligence/research-forum
+ 01:04 early  2 sachin-handiekar/jInstagram, 2 kantele/k-templates, 2 gmenih341/gm_webpage
- 01:04 early  2 sachin-handiekar/jInstagram, 2 kantele/k-templates, 2 gmenih341/gm_webpage
+ 01:04        3 designerwebhosting/christopherbyrne.github.io, 2 sachin-handiekar/jInstagram, 2 rust-lang/rust
+ 01:05 early  3 epeli/underscore.string, 3 blueboxgroup/ursula, 2 moongato/android_frameworks_base
- 01:05 early  3 epeli/underscore.string, 3 blueboxgroup/ursula, 2 moongato/android_frameworks_base
+ 01:05        4 epeli/underscore.string, 4 captainkirkby/Gears, 4 blueboxgroup/ursula
+ 01:06 early  2 wp-plugins/chamber-dashboard-business-directory, 2 phister/CollegeFootballPlayoff, 2 nZEDb/nZEDb
- 01:06 early  2 wp-plugins/chamber-dashboard-business-directory, 2 phister/CollegeFootballPlayoff, 2 nZEDb/nZEDb
+ 01:06        3 kantele/k-templates, 2 wp-plugins/chamber-dashboard-business-directory, 2 phister/CollegeFootballPlayoff
+ 01:07 early  2 ry5n/sass-inline-svg, 2 neeleshbagga/CS2110QA, 2 loyos/cemento
- 01:07 early  2 ry5n/sass-inline-svg, 2 neeleshbagga/CS2110QA, 2 loyos/cemento
+ 01:07        2 ry5n/sass-inline-svg, 2 rade/weave, 2 neeleshbagga/CS2110QA
dead letters:
  undecodable in \"crashed\": dataflows/data/gharchive_crashed.jsonl:4: EOF while parsing a string at line 1 column 88
    {\"event_id\":2489395904,\"stream\":\"github\",\"type\":\"PushEvent\",\"timestamp\":\"2015-01-01T01:0
  failed in \"timed\": no time: \"0000-00-00T00:00:00\"
    {\"repo\":\"rust-lang/rust\",\"timestamp\":\"0000-00-00T00:00:00\"}
",
    );
}
