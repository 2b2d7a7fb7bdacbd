//! What both client programs share: the record as one line of JSON, bytes in hexadecimal, and the command line.
//!
//! `CLIENT write BOOTSTRAP TOPIC PARTITION CODEC` reads records from standard input and returns once all are acknowledged;
//! `CLIENT read BOOTSTRAP TOPIC PARTITION` prints every record up to the end that it saw first; `CLIENT version` says who speaks.

use std::error::Error;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// One record as the test's canonical dump spells it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Milliseconds since the epoch; absent when the client is to choose.
    pub timestamp: Option<i64>,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
}

/// What the command line asks for.
pub enum Task {
    Write { bootstrap: String, topic: String, partition: i32, codec: String },
    Read { bootstrap: String, topic: String, partition: i32 },
    Version,
}

pub fn task() -> Outcome<Task> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", bootstrap, topic, partition, codec] => Ok(Task::Write {
            bootstrap: (*bootstrap).to_owned(),
            topic: (*topic).to_owned(),
            partition: partition.parse()?,
            codec: (*codec).to_owned(),
        }),
        ["read", bootstrap, topic, partition] => Ok(Task::Read {
            bootstrap: (*bootstrap).to_owned(),
            topic: (*topic).to_owned(),
            partition: partition.parse()?,
        }),
        ["version"] => Ok(Task::Version),
        _ => Err("usage: write BOOTSTRAP TOPIC PARTITION CODEC | read BOOTSTRAP TOPIC PARTITION | version".into()),
    }
}

pub fn lines_from_stdin() -> Outcome<Vec<Line>> {
    io::stdin().lock().lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

pub fn from_hex(text: &str) -> Outcome<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return Err("an odd number of hexadecimal digits".into());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or("not a hexadecimal digit");
    text.as_bytes().chunks(2).map(|pair| Ok((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

pub fn optional_from_hex(text: Option<&String>) -> Outcome<Option<Vec<u8>>> {
    text.map(|text| from_hex(text)).transpose()
}
