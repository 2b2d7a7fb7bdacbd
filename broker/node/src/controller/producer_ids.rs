//! Producer ids are given to brokers in blocks, as committed records, so that none is ever given twice (KIP-730).

use strandline_protocol::ids::{BrokerId, ProducerId};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::producer_ids::ProducerIdsRecord;

use crate::image::Image;

/// Producer ids of one block. Source: ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE.
pub(crate) const BLOCK_IDS: i32 = 1000;

/// The first id of the next block, and the record that makes it the broker's.
pub(crate) fn allocate(image: &Image, broker: i32, broker_epoch: i64) -> (ProducerId, MetadataRecord) {
    let start = image.next_producer_id;
    let next_producer_id = ProducerId(start.0.saturating_add(BLOCK_IDS.into()));
    let record = ProducerIdsRecord { broker_id: BrokerId(broker), broker_epoch, next_producer_id };
    (start, record.into())
}
