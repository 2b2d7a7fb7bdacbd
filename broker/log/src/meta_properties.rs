//! `meta.properties`: to which cluster and node a log directory belongs.
//!
//! Java properties, version 1. A directory of another node or cluster must never be opened.

use bytes::Bytes;
use strandline_protocol::ids::{BrokerId, Uuid};

use crate::format::{FormatError, text};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: BrokerId,
    /// Identity of the directory itself; Kafka before 3.7 wrote none.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// Renders the file.
    pub fn encode(&self) -> Bytes {
        let mut text = format!("version=1\ncluster.id={}\nnode.id={}\n", self.cluster_id, self.node_id);
        if let Some(directory_id) = self.directory_id {
            text.push_str(&format!("directory.id={directory_id}\n"));
        }
        Bytes::from(text)
    }

    /// Parses the file.
    ///
    /// # Errors
    /// [`FormatError`] if a property is missing or the version is not 1.
    pub fn parse(contents: &[u8]) -> Result<Self, FormatError> {
        let text = text(contents)?;
        let property = |field: &'static str| {
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
            let mut values = lines.filter_map(|line| line.split_once('=')).filter(|(key, _)| key.trim_end() == field);
            values.next_back().map(|(_, value)| value.trim()).ok_or(FormatError::Field { field })
        };
        let found: i32 = property("version")?.parse().map_err(|_| FormatError::Field { field: "version" })?;
        if found != 1 {
            return Err(FormatError::Version { expected: 1, found });
        }
        let node_id = property("node.id")?.parse().map_err(|_| FormatError::Field { field: "node.id" })?;
        let directory_id = match property("directory.id") {
            Ok(value) => Some(value.parse().map_err(|_| FormatError::Field { field: "directory.id" })?),
            Err(_) => None,
        };
        Ok(Self { cluster_id: property("cluster.id")?.to_owned(), node_id: BrokerId(node_id), directory_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_back() {
        let properties = MetaProperties {
            cluster_id: "MkU3OEVBNTcwNTJENDM2Qk".into(),
            node_id: BrokerId(1),
            directory_id: Some(Uuid([7; 16])),
        };
        assert_eq!(MetaProperties::parse(&properties.encode()), Ok(properties));
    }

    #[test]
    fn what_java_writes_is_read() {
        let text =
            b"#\n#Sat Nov 21 05:56:40 UTC 2026\ncluster.id=a=b\ndirectory.id=BwcHBwcHBwcHBwcHBwcHBw\nnode.id=3\nversion=1\n";
        let properties = MetaProperties::parse(text).expect("it is well formed");
        assert_eq!((properties.cluster_id.as_str(), properties.node_id), ("a=b", BrokerId(3)));
        assert_eq!(properties.directory_id, Some(Uuid([7; 16])));
    }

    #[test]
    fn a_missing_property_is_named() {
        assert_eq!(MetaProperties::parse(b"version=1\nnode.id=1\n"), Err(FormatError::Field { field: "cluster.id" }));
        assert_eq!(MetaProperties::parse(b"version=0\n"), Err(FormatError::Version { expected: 1, found: 0 }));
    }
}
