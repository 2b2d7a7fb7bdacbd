//! Our specification equals Kafka's, field by field: names, order, types, versions, nullability, tags, defaults.
//!
//! Kafka's definitions are read from its own jars. They are not kept here; `.ci/fetch-kafka-jars` gets them once. Without them
//! this test fails rather than passing for want of anything to compare.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use strandline_protocol::api::{APIS, Listeners};
use strandline_protocol::spec::{DefaultValue, FieldSpec, Kind, MessageSpec, StructSpec, Type, Versions};

use crate::definitions;

const KAFKA_VERSION: &str = "4.3.1";

const JARS: [&str; 7] = [
    "kafka-clients",
    "kafka-metadata",
    "kafka-group-coordinator",
    "kafka-transaction-coordinator",
    "kafka-share-coordinator",
    "kafka-raft",
    "kafka-storage",
];

/// A line of the specification by its path; comparing two of these shows every difference at once.
type Lines = BTreeMap<String, String>;

#[test]
fn every_definition_equals_kafkas() {
    let (kafka, entities) = kafka_lines();
    let (ours, our_entities) = our_lines();
    let mut differences = Vec::new();
    for (path, line) in &kafka {
        match ours.get(path) {
            None => differences.push(format!("{path}: Kafka has it, we do not: {line}")),
            Some(our_line) if our_line != line => differences.push(format!("{path}:\n  Kafka: {line}\n  ours:  {our_line}")),
            Some(_) => {}
        }
    }
    differences.extend(
        ours.keys().filter(|path| !kafka.contains_key(*path)).map(|path| format!("{path}: we have it, Kafka does not")),
    );
    // We may give an id a type where Kafka's definition says nothing, but never another one than it says.
    differences.extend(
        entities
            .iter()
            .filter(|(path, entity)| our_entities.get(*path) != Some(entity))
            .map(|(path, entity)| format!("{path}: is a {entity}")),
    );
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
    assert!(kafka.len() > 2000, "only {} lines were compared", kafka.len());
}

// Ours.

fn our_lines() -> (Lines, Lines) {
    let (mut lines, mut entities) = (Lines::new(), Lines::new());
    for definition in definitions::all() {
        let spec = definition.spec;
        lines.insert(spec.body.name.to_owned(), our_head(spec));
        our_struct(spec.body, spec.body.name, spec.versions, &mut lines, &mut entities);
    }
    (lines, entities)
}

fn our_head(spec: &MessageSpec) -> String {
    let row = APIS.iter().find(|row| Some(row.key as i16) == spec.key && spec.kind == Kind::Request);
    let listeners = row.map_or("", |row| match row.listeners {
        Listeners::Broker => "broker",
        Listeners::Controller => "controller",
        Listeners::Both => "broker+controller",
    });
    let unstable = row.is_some_and(|row| row.stable_last != spec.versions.last);
    head(spec.kind.name(), spec.key, spec.versions, spec.flexible, listeners, unstable)
}

fn our_struct(spec: &StructSpec, path: &str, around: Versions, lines: &mut Lines, entities: &mut Lines) {
    for (index, field) in spec.fields.iter().enumerate() {
        let path = format!("{path}.{}", field.name);
        let versions = field.versions.intersect(around);
        lines.insert(path.clone(), our_field(index, field, versions));
        entities.extend(field.entity.map(|entity| (path.clone(), entity.to_owned())));
        if let Some(inner) = inner_struct(field.kind) {
            our_struct(inner, &path, versions, lines, entities);
        }
    }
}

fn our_field(index: usize, field: &FieldSpec, versions: Versions) -> String {
    Line {
        index,
        kind: type_name(field.kind),
        versions,
        nullable: field.nullable.intersect(versions),
        tag: field.tag.map(i64::from),
        tagged: field.tagged.intersect(versions),
        flexible: field.flexible,
        default: field.default,
        ignorable: field.ignorable,
    }
    .show()
}

fn inner_struct(kind: Type) -> Option<&'static StructSpec> {
    match kind {
        Type::Struct(spec) => Some(spec),
        Type::Array(element) => inner_struct(*element),
        _ => None,
    }
}

fn type_name(kind: Type) -> String {
    match kind {
        Type::Array(element) => format!("[]{}", type_name(*element)),
        Type::Struct(spec) => spec.name.to_owned(),
        simple => format!("{simple:?}").to_lowercase(),
    }
}

// The shape that both sides are brought into.

fn head(kind: &str, key: Option<i16>, versions: Versions, flexible: Versions, listeners: &str, unstable: bool) -> String {
    let flexible = flexible.intersect(versions);
    format!("{kind} key {key:?} versions {versions} flexible {flexible} listeners {listeners} unstable {unstable}")
}

struct Line {
    index: usize,
    kind: String,
    versions: Versions,
    nullable: Versions,
    tag: Option<i64>,
    tagged: Versions,
    flexible: Option<Versions>,
    default: DefaultValue,
    ignorable: bool,
}

impl Line {
    fn show(&self) -> String {
        let Self { index, kind, versions, nullable, tag, tagged, flexible, default, ignorable } = self;
        format!(
            "field {index}: {kind} versions {versions} nullable {nullable} tag {tag:?} in {tagged} flexible {flexible:?} default {default:?} ignorable {ignorable}"
        )
    }
}

// Kafka's.

fn kafka_lines() -> (Lines, Lines) {
    let (mut lines, mut entities) = (Lines::new(), Lines::new());
    for definition in kafka_definitions() {
        let Some(versions) = ranges(&definition, "validVersions").filter(|versions| !versions.is_none()) else {
            continue;
        };
        let name = text(&definition, "name").expect("a definition has a name");
        lines.insert(name.to_owned(), kafka_head(&definition, versions));
        KafkaWalk { definition: &definition, lines: &mut lines, entities: &mut entities }.fields(
            &definition["fields"],
            name,
            versions,
        );
    }
    (lines, entities)
}

fn kafka_head(definition: &Value, versions: Versions) -> String {
    let key = definition["apiKey"].as_i64().map(|key| key as i16);
    let flexible = ranges(definition, "flexibleVersions").expect("flexible versions are given");
    let kind = text(definition, "type").expect("a definition has a kind");
    let mut listeners: Vec<_> = definition["listeners"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    listeners.sort_unstable();
    head(kind, key, versions, flexible, &listeners.join("+"), flag(definition, "latestVersionUnstable"))
}

struct KafkaWalk<'a> {
    definition: &'a Value,
    lines: &'a mut Lines,
    entities: &'a mut Lines,
}

impl KafkaWalk<'_> {
    fn fields(&mut self, fields: &Value, path: &str, around: Versions) {
        for (index, field) in fields.as_array().expect("fields are a list").iter().enumerate() {
            let path = format!("{path}.{}", text(field, "name").expect("a field has a name"));
            let versions = kafka_versions(field).intersect(around);
            self.lines.insert(path.clone(), kafka_field(index, field, versions));
            self.entities.extend(text(field, "entityType").map(|entity| (path.clone(), entity.to_owned())));
            if let Some(inner) = self.inner_fields(field) {
                self.fields(&inner, &path, versions);
            }
        }
    }

    fn inner_fields(&self, field: &Value) -> Option<Value> {
        let name = text(field, "type")?.trim_start_matches("[]");
        let shared = self.definition["commonStructs"].as_array().into_iter().flatten();
        let shared = shared.filter(|shared| text(shared, "name") == Some(name)).map(|shared| shared["fields"].clone()).next();
        field.get("fields").cloned().or(shared)
    }
}

/// A field without versions is there wherever it is tagged.
fn kafka_versions(field: &Value) -> Versions {
    ranges(field, "versions").or_else(|| ranges(field, "taggedVersions")).expect("a field has versions")
}

fn kafka_field(index: usize, field: &Value, versions: Versions) -> String {
    let kind = text(field, "type").expect("a field has a type").to_owned();
    let limited = |name| ranges(field, name).unwrap_or(Versions::NONE).intersect(versions);
    let nullable = limited("nullableVersions");
    Line {
        index,
        versions,
        nullable,
        tag: field["tag"].as_i64(),
        tagged: limited("taggedVersions"),
        flexible: ranges(field, "flexibleVersions"),
        default: kafka_default(&field["default"], kind == "records" && !nullable.is_none()),
        ignorable: flag(field, "ignorable"),
        kind,
    }
    .show()
}

/// Kafka's generator reads the default as text: JSON's own null is the same as none given, the text `null` is null.
fn kafka_default(default: &Value, null_by_nature: bool) -> DefaultValue {
    let text = match default {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.as_str() {
        "" if null_by_nature => DefaultValue::Null,
        "" | "false" | "0" => DefaultValue::Zero,
        "null" => DefaultValue::Null,
        "true" => DefaultValue::Bool(true),
        number => DefaultValue::Int(match number.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).expect("a default is a number"),
            None => number.parse().expect("a default is a number"),
        }),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str()
}

fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or(value[name] == "true")
}

fn ranges(value: &Value, name: &str) -> Option<Versions> {
    let number = |text: &str| text.parse::<i16>().expect("a version is a number");
    let text = text(value, name)?;
    Some(match text.split_once('-') {
        _ if text == "none" => Versions::NONE,
        Some((first, last)) => Versions::new(number(first), number(last)),
        None => match text.strip_suffix('+') {
            Some(first) => Versions::new(number(first), i16::MAX),
            None => Versions::new(number(text), number(text)),
        },
    })
}

fn kafka_definitions() -> Vec<Value> {
    let directory = jar_directory();
    JARS.iter().flat_map(|jar| definitions_in(&directory.join(format!("{jar}-{KAFKA_VERSION}.jar")))).collect()
}

fn jar_directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), |target| workspace.join(target));
    std::env::var_os("STRANDLINE_KAFKA_JARS").map_or(target.join("kafka-jars"), PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "the crate touches no file, but the jars it is compared with are files")]
fn definitions_in(jar: &Path) -> Vec<Value> {
    let bytes = std::fs::read(jar).unwrap_or_else(|error| {
        panic!("{}: {error}; .ci/fetch-kafka-jars gets Kafka's jars, STRANDLINE_KAFKA_JARS names another place", jar.display())
    });
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("a jar is a zip archive");
    let names = archive.file_names().map(|name| name.expect("Kafka's names are UTF-8").into_owned());
    let names: Vec<String> = names.filter(|name| is_definition(name)).collect();
    names
        .iter()
        .map(|name| {
            let mut commented = String::new();
            archive.by_name(name).expect("the name was listed").read_to_string(&mut commented).expect("definitions are text");
            serde_json::from_str(&without_comments(&commented)).unwrap_or_else(|error| panic!("{name}: {error}"))
        })
        .collect()
}

fn is_definition(name: &str) -> bool {
    name.ends_with(".json") && ["common/message/", "common/metadata/", "message/"].iter().any(|folder| name.starts_with(folder))
}

/// JSON with comments to the end of the line becomes JSON.
fn without_comments(commented: &str) -> String {
    commented.lines().map(|line| comment_start(line).map_or(line, |start| &line[..start])).collect::<Vec<_>>().join("\n")
}

fn comment_start(line: &str) -> Option<usize> {
    let mut in_text = false;
    line.char_indices().find_map(|(index, character)| {
        in_text ^= character == '"';
        (!in_text && line[index..].starts_with("//")).then_some(index)
    })
}
