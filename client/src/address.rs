//! Where a server listens: `host:port`, `[ipv6]:port`.

use std::fmt;
use std::str::FromStr;

/// The port that Kafka's listeners have by convention; taken when an address names none.
const PORT: u16 = 9092;

/// A host, by name or number, and a port. Resolved anew for every connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

/// Not a host with an optional port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address of the form host:port")]
pub struct InvalidAddress {
    pub text: String,
}

impl FromStr for Address {
    type Err = InvalidAddress;

    /// Reads `host`, `host:port`, `[ipv6]` or `[ipv6]:port`.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress { text: text.to_owned() };
        let (host, port) = split(text.trim()).ok_or_else(invalid)?;
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(invalid());
        }
        let port = port.map_or(Ok(PORT), str::parse).map_err(|_| invalid())?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Host and port of the text; a bare IPv6 address has too many colons to tell them apart and needs its brackets.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return if rest.is_empty() { Some((host, None)) } else { Some((host, Some(rest.strip_prefix(':')?))) };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((_, rest)) if rest.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_alike() {
        for text in ["localhost:9092", "10.0.0.1:19092", "[::1]:9092"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_host_without_a_port_gets_the_usual_one() {
        assert_eq!("broker".parse(), Ok(Address { host: "broker".into(), port: 9092 }));
        assert_eq!("[::1]".parse(), Ok(Address { host: "::1".into(), port: 9092 }));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", ":9092", "a:b", "a:99999", "::1", "[::1]9092", "a b:1"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
