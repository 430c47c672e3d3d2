//! The tables of a dataflow file, each to its type: defaults, ranges and combinations.
//!
//! [`dataflow`] reads a whole file; [`rules_alone`] only the tables about events, for scenario files.

use std::path::{Path, PathBuf};

use super::table::{Field, Schema, Table};
use super::tree::{Node, Value, quote};
use super::{
    Dataflow, FileText, FillType, GapsSpec, HorizonSpec, InputSpec, JournalSpec, Keep, OnReset,
    SinkKind, SinkSpec, Sinks, SourceSpec, WatermarkSpec,
};
use crate::Result;
use crate::event::{DedupKey, EventSpec, FieldPath, KeyField, TimestampFormat};

/// The longest record by default, in bytes.
const DEFAULT_MAX_RECORD_BYTES: u64 = 1 << 20;
/// The most that `max_record` may be.
const MAX_MAX_RECORD_BYTES: u64 = 1 << 30;
const HOUR_US: i64 = 3_600_000_000;

const FILE: Schema = Schema {
    name: "",
    keys: &[
        "name",
        "source",
        "event",
        "dedup",
        "gaps",
        "watermark",
        "limits",
        "sink",
        "journal",
    ],
    later: &[],
};
const JOURNAL: Schema = Schema {
    name: "journal",
    keys: &["segment", "retain"],
    later: &[],
};
const SOURCE: Schema = Schema {
    name: "source",
    keys: &["kind", "path", "name", "max_record"],
    later: &[],
};
const EVENT: Schema = Schema {
    name: "event",
    keys: &[
        "stream",
        "id",
        "id_text",
        "type",
        "timestamp",
        "timestamp_format",
        "valid",
        "max_record",
    ],
    later: &[],
};
const DEDUP: Schema = Schema {
    name: "dedup",
    keys: &["key", "keep", "horizon", "stream_ttl"],
    later: &[],
};
const GAPS: Schema = Schema {
    name: "gaps",
    keys: &[
        "reconstruct",
        "type",
        "grace",
        "max_width",
        "max_missing",
        "annotate",
        "on_reset",
    ],
    later: &[],
};
const WATERMARK: Schema = Schema {
    name: "watermark",
    keys: &["disorder", "max_ahead"],
    later: &[],
};
const LIMITS: Schema = Schema {
    name: "limits",
    keys: &["dead_share"],
    later: &[],
};
const SINK: Schema = Schema {
    name: "sink",
    keys: &["clean", "changes", "dead", "gaps"],
    later: &[(
        "requests",
        "this version has the sinks clean, changes, dead and gaps",
    )],
};
const CLEAN: Schema = Schema {
    name: "sink.clean",
    keys: &["kind", "annotate"],
    later: &[],
};
const CHANGES: Schema = Schema {
    name: "sink.changes",
    keys: &["kind", "annotate"],
    later: &[],
};
const DEAD: Schema = Schema {
    name: "sink.dead",
    keys: &["kind"],
    later: &[],
};
const GAP_SINK: Schema = Schema {
    name: "sink.gaps",
    keys: &["kind"],
    later: &[],
};

/// Where a key that was written in the wrong table may belong.
const TABLES: [&Schema; 8] = [
    &SOURCE, &EVENT, &DEDUP, &GAPS, &WATERMARK, &LIMITS, &SINK, &JOURNAL,
];

/// What the tables about events say, without where these come from and go to.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) event: EventSpec,
    pub(crate) keep: Keep,
    pub(crate) horizon: Option<HorizonSpec>,
    pub(crate) gaps: GapsSpec,
    pub(crate) watermark: WatermarkSpec,
    /// Whether sinks mark reconstructed events, where they do not say it themselves.
    pub(crate) annotate: bool,
}

/// Reads the tree of a dataflow file that is, or might be, at `origin`.
pub(crate) fn dataflow(root: &Node, origin: &Path) -> Result<Dataflow> {
    let file = Table::open(root, &FILE, &TABLES)?;
    let name = dataflow_name(&file, origin)?;
    let source = source_table(&file)?;
    let mut rules = rules(&file)?;
    if let Some(max_record) = source.get("max_record") {
        if nested(&file, "event", &EVENT)?.is_some_and(|event| event.get("max_record").is_some()) {
            return Err(max_record.error(
                "is also given in [event]",
                "keep one of the two max_record lines",
            ));
        }
        rules.event.max_record_bytes = max_record_bytes(&max_record)?;
    }
    Ok(Dataflow {
        source: SourceSpec {
            name: match source.get("name") {
                Some(name) => name.text_not_blank()?.to_owned(),
                None => name.clone(),
            },
            inputs: inputs(&source, origin)?,
        },
        name,
        event: rules.event,
        keep: rules.keep,
        journal: journal(&file, rules.horizon.is_some())?,
        horizon: rules.horizon,
        gaps: rules.gaps,
        watermark: rules.watermark,
        text: FileText::default(),
        dead_share: match nested(&file, "limits", &LIMITS)? {
            Some(limits) => limits
                .get("dead_share")
                .map(|share| share.share())
                .transpose()?,
            None => None,
        },
        sinks: sinks(&file, rules.annotate)?,
    })
}

/// Reads a tree that holds no other tables than `event`, `dedup`, `gaps` and `watermark`.
pub(crate) fn rules_alone(root: &Node) -> Result<Rules> {
    rules(&Table::open(root, &FILE, &TABLES)?)
}

/// Reads the tables `event`, `dedup`, `gaps` and `watermark`.
fn rules(file: &Table<'_>) -> Result<Rules> {
    let mut event = event_spec(file)?;
    let dedup = nested(file, "dedup", &DEDUP)?;
    if let Some(key) = dedup.and_then(|dedup| dedup.get("key")) {
        event.key = dedup_key(&key, &event)?;
    }
    let keep = dedup.and_then(|dedup| dedup.get("keep"));
    let (gaps, annotate) = gaps(file)?;
    let horizon = horizon(file, dedup.as_ref(), &gaps)?;
    Ok(Rules {
        horizon,
        event,
        keep: keep.map_or(Ok(Keep::First), |keep| {
            keep.choice(&[("first", Keep::First), ("last", Keep::Last)])
        })?,
        gaps,
        watermark: watermark(file)?,
        annotate,
    })
}

/// What `[dedup]` and `[gaps]` say of forgetting.
fn horizon(
    file: &Table<'_>,
    dedup: Option<&Table<'_>>,
    gaps: &GapsSpec,
) -> Result<Option<HorizonSpec>> {
    let get = |key: &str| dedup.and_then(|dedup| dedup.get(key));
    let on_reset = nested(file, "gaps", &GAPS)?.and_then(|gaps| gaps.get("on_reset"));
    let Some(horizon) = get("horizon") else {
        const HINT: &str =
            "add horizon to [dedup], or leave this out: without one nothing is forgotten";
        if let Some(field) = get("stream_ttl").or(on_reset) {
            return Err(field.error("has no meaning without dedup.horizon", HINT));
        }
        return Ok(None);
    };
    let horizon_us = horizon.duration_us()?;
    if horizon_us == 0 {
        return Err(horizon.error("forgets everything at once", "such as \"1h\" or \"24h\""));
    }
    if gaps.grace_us > horizon_us {
        return Err(horizon.error(
            "is shorter than gaps.grace",
            "a gap that is forgotten cannot be waited for: make the grace shorter",
        ));
    }
    Ok(Some(HorizonSpec {
        horizon_us,
        stream_ttl_us: match get("stream_ttl") {
            None => horizon_us.saturating_mul(10),
            Some(field) => {
                let ttl = field.duration_us()?;
                if ttl < horizon_us {
                    return Err(field.error(
                        "is shorter than dedup.horizon",
                        "a stream is forgotten whole when it was silent for several horizons",
                    ));
                }
                ttl
            }
        },
        on_reset: on_reset.map_or(Ok(OnReset::DeadLetter), |field| {
            field.choice(&[
                ("dead-letter", OnReset::DeadLetter),
                ("new-sequence", OnReset::NewSequence),
            ])
        })?,
    }))
}

/// The `[journal]` table.
fn journal(file: &Table<'_>, forgets: bool) -> Result<JournalSpec> {
    let mut spec = JournalSpec::default();
    let Some(journal) = nested(file, "journal", &JOURNAL)? else {
        return Ok(spec);
    };
    if let Some(segment) = journal.get("segment") {
        spec.segment_bytes = segment.bytes(4 << 10, 1 << 40)?;
    }
    if let Some(retain) = journal.get("retain") {
        if !forgets {
            return Err(retain.error(
                "needs dedup.horizon",
                "without a horizon nothing is ever forgotten, and recovery needs all of the journal",
            ));
        }
        spec.retain_us = Some(retain.duration_us()?);
    }
    Ok(spec)
}

/// The table at `key`, where there is one, with its keys checked.
fn nested<'a>(file: &Table<'a>, key: &str, schema: &'static Schema) -> Result<Option<Table<'a>>> {
    file.get(key)
        .map(|field| Table::open(field.node, schema, &TABLES))
        .transpose()
}

fn dataflow_name(file: &Table<'_>, origin: &Path) -> Result<String> {
    let Some(field) = file.get("name") else {
        let stem = origin
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        return Ok(stem
            .filter(|stem| !stem.is_empty())
            .unwrap_or_else(|| "dataflow".to_owned()));
    };
    let name = field.text_not_blank()?;
    let is_folder_name = !matches!(name, "." | "..")
        && !name
            .chars()
            .any(|c| matches!(c, '/' | '\\') || c.is_control());
    if !is_folder_name {
        return Err(field.error(
            "cannot name a folder",
            "results are written to out/<name>: leave out slashes and control characters",
        ));
    }
    Ok(name.to_owned())
}

/// The `[source]` table, its kind judged before its keys: those of a kind that this version does
/// not have would only distract.
fn source_table<'a>(file: &Table<'a>) -> Result<Table<'a>> {
    let field = file.require(
        "source",
        "add the lines: [source], kind = \"jsonl\" and path = \"events.jsonl\"",
    )?;
    let source = Table::open_unchecked(field.node, &SOURCE)?;
    if let Some(kind) = source.get("kind") {
        kind.refuse_later(
            &["follow", "kafka", "pubsub", "http"],
            "this version reads kind = \"jsonl\" (files) and kind = \"stdin\"",
        )?;
    }
    source.check_keys(&TABLES)?;
    Ok(source)
}

#[derive(Clone, Copy)]
enum SourceKind {
    Jsonl,
    Stdin,
}

fn inputs(source: &Table<'_>, origin: &Path) -> Result<Vec<InputSpec>> {
    let kind = source
        .require("kind", "add kind = \"jsonl\" (files), or kind = \"stdin\"")?
        .choice(&[("jsonl", SourceKind::Jsonl), ("stdin", SourceKind::Stdin)])?;
    match kind {
        SourceKind::Stdin => match source.get("path") {
            Some(path) => Err(path.error(
                "has no meaning with kind = \"stdin\"",
                "leave path out, or write kind = \"jsonl\"",
            )),
            None => Ok(vec![InputSpec::Stdin]),
        },
        SourceKind::Jsonl => {
            let hint = "add path = \"events.jsonl\", a list of paths, or a glob";
            let path = source.require("path", hint)?;
            let folder = origin.parent().unwrap_or(Path::new(""));
            let paths = match &path.node.value {
                Value::List(list) if list.is_empty() => {
                    return Err(path.error("names no file", hint));
                }
                Value::List(list) => path.entries(list),
                _ => vec![path],
            };
            paths
                .iter()
                .map(|path| Ok(InputSpec::Path(joined_path(path, folder)?)))
                .collect()
        }
    }
}

/// The path of the field, joined to the folder of the dataflow file.
fn joined_path(field: &Field<'_>, folder: &Path) -> Result<PathBuf> {
    let path = field.text_not_blank()?;
    if path.contains('\0') {
        return Err(field.error("holds a NUL character", "no path does"));
    }
    let is_glob = path.contains(['*', '?', '[']);
    match folder.to_str() {
        // The folder is a folder and no pattern, whatever characters it has.
        Some(text) if is_glob && !Path::new(path).is_absolute() => {
            Ok(Path::new(&glob::Pattern::escape(text)).join(path))
        }
        _ => Ok(folder.join(path)),
    }
}

fn event_spec(file: &Table<'_>) -> Result<EventSpec> {
    let event = nested(file, "event", &EVENT)?;
    let get = |key: &str| event.and_then(|event| event.get(key));
    let path = |key: &str, default: &str| match get(key) {
        Some(field) => field.field_path(),
        None => Ok(FieldPath::Name(default.to_owned())),
    };
    let (stream, stream_is_list) = match get("stream") {
        Some(field) => stream_paths(&field)?,
        None => (Vec::new(), false),
    };
    let spec = EventSpec {
        stream,
        stream_is_list,
        id: path("id", "event_id")?,
        id_text: get("id_text").map_or(Ok(false), |field| field.boolean())?,
        r#type: path("type", "type")?,
        timestamp: path("timestamp", "timestamp")?,
        timestamp_format: get("timestamp_format")
            .map_or(Ok(TimestampFormat::Iso8601), |field| {
                field.choice(&TIMESTAMP_FORMATS)
            })?,
        valid: path("valid", "valid")?,
        key: DedupKey::IdAndTime,
        max_record_bytes: match get("max_record") {
            Some(field) => max_record_bytes(&field)?,
            None => DEFAULT_MAX_RECORD_BYTES as usize,
        },
    };
    check_fields_differ(event.as_ref(), &spec)?;
    Ok(spec)
}

const TIMESTAMP_FORMATS: [(&str, TimestampFormat); 5] = [
    ("strict", TimestampFormat::Strict),
    ("iso8601", TimestampFormat::Iso8601),
    ("unix-s", TimestampFormat::UnixSeconds),
    ("unix-ms", TimestampFormat::UnixMillis),
    ("unix-us", TimestampFormat::UnixMicros),
];

/// The fields that name a stream, and whether they were given as a list.
fn stream_paths(field: &Field<'_>) -> Result<(Vec<FieldPath>, bool)> {
    match &field.node.value {
        Value::List(list) => Ok((
            field.field_paths(list, "leave stream out where there is one stream")?,
            true,
        )),
        _ => Ok((vec![field.field_path()?], false)),
    }
}

fn max_record_bytes(field: &Field<'_>) -> Result<usize> {
    Ok(field.integer(1, MAX_MAX_RECORD_BYTES)? as usize)
}

/// Refuses two roles for one field, or for a field and one inside it: no record could be right,
/// and no reconstructed event be written. The member `amend` is taken too, by our own mark.
fn check_fields_differ(event: Option<&Table<'_>>, spec: &EventSpec) -> Result<()> {
    let Some(event) = event else { return Ok(()) };
    let mut seen: Vec<(&str, &[String])> = Vec::new();
    let singles = [
        ("id", &spec.id),
        ("type", &spec.r#type),
        ("timestamp", &spec.timestamp),
        ("valid", &spec.valid),
    ];
    let roles = singles
        .into_iter()
        .chain(spec.stream.iter().map(|path| ("stream", path)));
    for (role, path) in roles {
        let tokens = tokens(path);
        let clash = seen
            .iter()
            .find(|(_, other)| tokens.starts_with(other) || other.starts_with(tokens));
        // One of the two may be a default; the place is that of one that was written.
        if let Some((other, _)) = clash
            && let Some(field) = event.get(role).or_else(|| event.get(other))
        {
            return Err(match role == *other {
                true => field.error("names one field twice", "name each field once"),
                false => field.error(
                    format_args!("makes {other} and {role} the same field"),
                    "stream, id, type, timestamp and valid are fields of their own",
                ),
            });
        }
        if tokens[0] == "amend"
            && let Some(field) = event.get(role)
        {
            return Err(field.error(
                "is the member that marks reconstructed events",
                "the field needs another name",
            ));
        }
        seen.push((role, tokens));
    }
    Ok(())
}

/// The path as the tokens of a pointer: a name is the pointer with one token.
fn tokens(path: &FieldPath) -> &[String] {
    match path {
        FieldPath::Name(name) => std::slice::from_ref(name),
        FieldPath::Pointer(tokens) => tokens,
    }
}

fn dedup_key(field: &Field<'_>, event: &EventSpec) -> Result<DedupKey> {
    let hint = "a list of fields, such as [\"event_id\", \"timestamp\"]";
    let Value::List(list) = &field.node.value else {
        return Err(match &field.node.value {
            Value::Text(text) => {
                field.error("is not a list", format!("write key = [{}]", quote(text)))
            }
            value => field.error(format_args!("is {}, not a list", value.kind()), hint),
        });
    };
    let mut fields: Vec<KeyField> = Vec::new();
    let mut seen: Vec<FieldPath> = Vec::new();
    for path in field.field_paths(list, hint)? {
        if seen.iter().any(|other| tokens(other) == tokens(&path)) {
            continue;
        }
        fields.push(if tokens(&path) == tokens(&event.id) {
            KeyField::Id
        } else if tokens(&path) == tokens(&event.timestamp) {
            KeyField::Time
        } else {
            KeyField::Field(path.clone())
        });
        seen.push(path);
    }
    let is_default =
        fields.len() == 2 && fields.contains(&KeyField::Id) && fields.contains(&KeyField::Time);
    Ok(if is_default {
        DedupKey::IdAndTime
    } else {
        DedupKey::Fields(fields)
    })
}

/// The `[gaps]` table, and whether sinks mark reconstructed events by default.
fn gaps(file: &Table<'_>) -> Result<(GapsSpec, bool)> {
    let gaps = nested(file, "gaps", &GAPS)?;
    let get = |key: &str| gaps.and_then(|gaps| gaps.get(key));
    let count = |key: &str, default: u64| {
        get(key).map_or(Ok(default), |field| field.integer(0, i64::MAX as u64))
    };
    let spec = GapsSpec {
        reconstruct: get("reconstruct").map_or(Ok(true), |field| field.boolean())?,
        r#type: get("type").map_or(Ok(FillType::MostFrequent), |field| fill_type(&field))?,
        grace_us: get("grace").map_or(Ok(0), |field| field.duration_us())?,
        max_width: count("max_width", 10_000)?,
        max_missing: count("max_missing", 1_000_000)?,
    };
    Ok((
        spec,
        get("annotate").map_or(Ok(true), |field| field.boolean())?,
    ))
}

fn fill_type(field: &Field<'_>) -> Result<FillType> {
    const FIXED: Schema = Schema {
        name: "gaps.type",
        keys: &["fixed"],
        later: &[],
    };
    const HINT: &str = "\"most-frequent\", \"lower-neighbour\", or { fixed = \"Unknown\" }";
    match &field.node.value {
        Value::Table(_) => {
            let fixed = Table::open(field.node, &FIXED, &[])?.require("fixed", HINT)?;
            Ok(FillType::Fixed(fixed.text_not_blank()?.to_owned()))
        }
        Value::Text(text) => match text.as_str() {
            "most-frequent" => Ok(FillType::MostFrequent),
            "lower-neighbour" => Ok(FillType::LowerNeighbour),
            "lower-neighbor" => Err(field.error(
                "is not a choice",
                format!("did you mean \"lower-neighbour\"? one of {HINT}"),
            )),
            text => Err(field.error(
                "is not a choice",
                match super::table::nearest(text, &["most-frequent", "lower-neighbour"]) {
                    Some(near) => format!("did you mean \"{near}\"? one of {HINT}"),
                    None => format!("one of {HINT}; always {0}: {{ fixed = {0} }}", quote(text)),
                },
            )),
        },
        value => Err(field.error(
            format_args!("is {}, not text", value.kind()),
            format!("one of {HINT}"),
        )),
    }
}

fn watermark(file: &Table<'_>) -> Result<WatermarkSpec> {
    let watermark = nested(file, "watermark", &WATERMARK)?;
    let duration = |key: &str, default: i64| {
        watermark
            .and_then(|watermark| watermark.get(key))
            .map_or(Ok(default), |field| field.duration_us())
    };
    Ok(WatermarkSpec {
        disorder_us: duration("disorder", 0)?,
        max_ahead_us: duration("max_ahead", 24 * HOUR_US)?,
    })
}

/// The sinks; of those on standard output there may be one.
fn sinks(file: &Table<'_>, annotate: bool) -> Result<Sinks> {
    let tables = nested(file, "sink", &SINK)?;
    let mut on_stdout: Option<&str> = None;
    let mut sink = |key: &'static str, schema: &'static Schema| -> Result<Option<SinkSpec>> {
        let Some(field) = tables.and_then(|tables| tables.get(key)) else {
            return Ok(None);
        };
        let (spec, kind) = sink_spec(&field, schema, annotate)?;
        if spec.kind == SinkKind::Stdout
            && let Some(other) = on_stdout.replace(key)
            && let Some(kind) = kind
        {
            return Err(kind.error(
                format_args!("when [sink.{other}] writes to it already"),
                "one sink can have standard output; write kind = \"jsonl\" for the other",
            ));
        }
        Ok(Some(spec))
    };
    let default = SinkSpec {
        kind: SinkKind::Jsonl,
        annotate,
    };
    Ok(Sinks {
        clean: sink("clean", &CLEAN)?.unwrap_or(default),
        changes: sink("changes", &CHANGES)?,
        dead: sink("dead", &DEAD)?.unwrap_or(default),
        gaps: sink("gaps", &GAP_SINK)?,
    })
}

/// One sink, with the field that names its kind, where one does.
fn sink_spec<'a>(
    field: &Field<'a>,
    schema: &'static Schema,
    annotate: bool,
) -> Result<(SinkSpec, Option<Field<'a>>)> {
    let table = Table::open_unchecked(field.node, schema)?;
    let kind = table.get("kind");
    if let Some(kind) = &kind {
        kind.refuse_later(
            &["kafka", "pubsub", "postgres"],
            "this version writes kind = \"jsonl\" (files) and kind = \"stdout\"",
        )?;
    }
    table.check_keys(&[])?;
    let spec = SinkSpec {
        kind: match &kind {
            Some(kind) => {
                kind.choice(&[("jsonl", SinkKind::Jsonl), ("stdout", SinkKind::Stdout)])?
            }
            None => SinkKind::Jsonl,
        },
        annotate: table
            .get("annotate")
            .map_or(Ok(annotate), |field| field.boolean())?,
    };
    Ok((spec, kind))
}
