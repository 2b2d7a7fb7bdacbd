//! `.kafka_cleanshutdown`: its presence says that every log was closed, so nothing needs to be scanned.
//!
//! Written last and durably, removed first at the next start. Since KIP-966 it holds the broker epoch as JSON, which the
//! next registration shows to the controller; before, it was empty.

use bytes::Bytes;
use serde_json::Value;

use crate::format::{FormatError, text};

/// What the file says. A file that exists means a clean shutdown whatever it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The epoch under which the broker was registered when it stopped; -1 if it was not.
    pub broker_epoch: i64,
}

impl CleanShutdown {
    /// Renders the file.
    pub fn encode(&self) -> Bytes {
        Bytes::from(format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.broker_epoch))
    }

    /// Parses the file.
    ///
    /// # Errors
    /// [`FormatError`] if it is no JSON object with a broker epoch: the shutdown was clean, the epoch is unknown.
    pub fn parse(contents: &[u8]) -> Result<Self, FormatError> {
        let value: Value = serde_json::from_str(text(contents)?).map_err(|_| FormatError::NotJson)?;
        let broker_epoch = value.get("brokerEpoch").and_then(Value::as_i64);
        Ok(Self { broker_epoch: broker_epoch.ok_or(FormatError::Field { field: "brokerEpoch" })? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_back() {
        let file = CleanShutdown { broker_epoch: 42 };
        assert_eq!(&file.encode()[..], br#"{"version":0,"brokerEpoch":42}"#);
        assert_eq!(CleanShutdown::parse(&file.encode()), Ok(file));
    }

    #[test]
    fn an_empty_file_knows_no_epoch() {
        assert_eq!(CleanShutdown::parse(b""), Err(FormatError::NotJson));
        assert_eq!(CleanShutdown::parse(b"{}"), Err(FormatError::Field { field: "brokerEpoch" }));
    }
}
