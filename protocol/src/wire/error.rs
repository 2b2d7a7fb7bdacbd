//! Why bytes are not what they should be, and which field says so.

use std::fmt;

use crate::spec::{StructSpec, Versions};

/// A decoding error with the path of the field, such as `ProduceRequest.topic_data[3].name`.
///
/// Boxed, so that a `Result` costs one word on the path where nothing fails; the path is put together only when it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    kind: WireErrorKind,
    root: &'static str,
    /// Innermost first.
    path: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireErrorKind {
    #[error("truncated: {needed} bytes needed, {remaining} remain")]
    Truncated { needed: usize, remaining: usize },
    #[error("{count} elements announced, {remaining} bytes remain")]
    CountAboveRemaining { count: usize, remaining: usize },
    #[error("negative length {length}")]
    NegativeLength { length: i32 },
    #[error("length {length} above the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("varint is longer than its type")]
    BadVarint,
    #[error("invalid UTF-8")]
    InvalidUtf8,
    #[error("null where null is not allowed")]
    NullNotAllowed,
    #[error("tag {tag} after tag {previous}")]
    TagOrder { tag: u32, previous: u32 },
    #[error("version {version} is not supported ({supported})")]
    UnsupportedVersion { version: i16, supported: Versions },
    #[error("{bytes} bytes left over")]
    TrailingBytes { bytes: usize },
    #[error("unknown record type {key}")]
    UnknownRecordType { key: i64 },
}

impl WireError {
    #[must_use]
    pub fn new(kind: WireErrorKind) -> Self {
        Self(Box::new(Inner { kind, root: "", path: Vec::new() }))
    }

    #[must_use]
    pub fn kind(&self) -> &WireErrorKind {
        &self.0.kind
    }

    /// Root and fields, outermost first.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::from(self.0.root);
        for step in self.0.path.iter().rev() {
            match step {
                Step::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    /// Names the message; an outer struct overrides an inner one.
    #[must_use]
    pub(crate) fn of(mut self, root: &'static str) -> Self {
        self.0.root = root;
        self
    }

    /// Adds the struct's field `at`; behind the last field stand the tagged fields themselves.
    #[must_use]
    pub(super) fn inside(mut self, spec: &'static StructSpec, at: usize) -> Self {
        let name = spec.fields.get(at).map_or("tags", |field| field.field);
        self.0.path.push(Step::Field(name));
        self.of(spec.name)
    }

    #[must_use]
    pub(super) fn element(mut self, index: usize) -> Self {
        self.0.path.push(Step::Index(index));
        self
    }
}

impl From<WireErrorKind> for WireError {
    fn from(kind: WireErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path(), self.0.kind)
    }
}

impl std::error::Error for WireError {}
