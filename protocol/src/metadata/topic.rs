//! Topics come and go.
//!
//! - `TopicRecord`: key 2, version 0, flexible
//! - `RemoveTopicRecord`: key 9, version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::{TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 2, versions = 0, flexible = 0..)]
pub struct TopicRecord {
    pub name: TopicName,
    pub topic_id: TopicId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 9, versions = 0, flexible = 0..)]
pub struct RemoveTopicRecord {
    pub topic_id: TopicId,
}
