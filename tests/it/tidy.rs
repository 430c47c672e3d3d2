//! The hygiene of the repository: what every file begins with, who may import whom, and that
//! nothing is left half done.

use std::path::{Path, PathBuf};

use crate::process;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` with one of these extensions, as paths within the repository.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|e| extensions.iter().any(|x| *x == e))
            {
                found.push(path.strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(folder, &["rs"]))
        .filter(|path| !read(path).starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "no `//!` at the beginning of {silent:?}");
}

#[test]
fn nothing_is_left_half_done() {
    // In pieces, so that this file does not find itself.
    let marks = [
        ("todo", "!"),
        ("unimplemented", "!"),
        ("dbg", "!"),
        ("#[igno", "re"),
    ]
    .map(|(start, end)| format!("{start}{end}"));
    for path in ["src", "tests", "benches", "dataflows"]
        .iter()
        .flat_map(|f| files(f, &["rs"]))
    {
        for (nth, line) in read(&path).lines().enumerate() {
            for mark in &marks {
                assert!(
                    !line.contains(mark),
                    "{}:{}: {mark}",
                    path.display(),
                    nth + 1
                );
            }
        }
    }
}

/// Each module of `src`, and the other modules that it may use.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("error", &[]),
    ("time", &[]),
    ("windowing", &["time"]),
    ("operators", &["time"]),
    ("event", &["error", "time"]),
    ("room", &[]),
    ("journal", &["error", "time", "event", "room"]),
    ("io", &["error", "time", "room"]),
    ("ops", &["error", "time"]),
    (
        "pipeline",
        &[
            "windowing",
            "operators",
            "io",
            "time",
            "error",
            "pcollection",
        ],
    ),
    (
        "pcollection",
        &["windowing", "operators", "io", "time", "error", "pipeline"],
    ),
    (
        "transforms",
        &[
            "windowing",
            "operators",
            "io",
            "time",
            "error",
            "pipeline",
            "pcollection",
        ],
    ),
    (
        "runtime",
        &["pipeline", "io", "journal", "ops", "error", "time"],
    ),
    (
        "repair",
        &[
            "operators",
            "pipeline",
            "io",
            "journal",
            "event",
            "runtime",
            "error",
            "time",
        ],
    ),
    (
        "verify",
        &[
            "operators",
            "pipeline",
            "io",
            "journal",
            "event",
            "error",
            "time",
        ],
    ),
    ("testing", &["*"]),
    ("bench", &["*"]),
    ("prelude", &["*"]),
    ("cli", &["*"]),
    ("main", &["*"]),
];

/// The modules that a source text names after `crate::`, re-exports by the module they come from.
fn used(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut names = Vec::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            None => names.push(part.to_string()),
            Some(group) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '}' if depth == 0 => break,
                        ',' if depth == 0 => names.push(std::mem::take(&mut item)),
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        c => item.push(c),
                    }
                }
                names.push(item);
            }
        }
    }
    let name = |text: String| {
        let name: String = text
            .trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        match name.as_str() {
            "Error" | "ErrorKind" | "Result" => "error".into(),
            "Epoch" | "EventTime" => "time".into(),
            _ => name,
        }
    };
    names
        .into_iter()
        .map(name)
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_are_found() {
    let text = "use crate::{Error, event::{Decoded, Fault}, time};\n// crate::io\nlet x = crate::ops::y();";
    assert_eq!(used(text), ["error", "event", "time", "ops"]);
}

#[test]
fn modules_use_only_what_they_may() {
    let mut wrong = Vec::new();
    for path in files("src", &["rs"]) {
        let module = path
            .components()
            .nth(1)
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .into_owned();
        let module = module.trim_end_matches(".rs");
        // Tests may use what they like.
        let is_tests = path.ends_with("tests.rs") || path.ends_with("retained/model.rs");
        if module == "lib" || is_tests {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module);
        let Some((_, allowed)) = allowed else {
            panic!("`{module}` has no line in MAY_USE")
        };
        // In-file tests may use what they like.
        let text = read(&path);
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for name in used(text) {
            if name != module && !allowed.contains(&"*") && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{} uses {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn scenarios_hold() {
    let scenarios = files("tests/scenarios", &["yaml", "yml"]);
    if scenarios.is_empty() {
        return;
    }
    let mut command = process::amend();
    command
        .arg("test")
        .args(scenarios.iter().map(|path| root().join(path)));
    process::run(&mut command).expect_code(0);
}

#[test]
fn every_data_file_has_its_licence() {
    let notes = read(Path::new("dataflows/data/README.md"));
    for path in files("dataflows/data", &["jsonl"]) {
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(
            notes.contains(&*format!("| {name} |")),
            "{name} is not in the README.md beside it"
        );
    }
}
