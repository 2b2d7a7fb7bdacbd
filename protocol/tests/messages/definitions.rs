//! Every top-level definition of the crate, each with a way through its decoder and encoder.

use bytes::{BufMut, Bytes, BytesMut};
use strandline_protocol::api::{APIS, ApiRow, Request, Response};
use strandline_protocol::control::{
    ControlRecordTypeSchema, EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord,
};
use strandline_protocol::coordinator::{ConsumerOffsetsRecord, ShareGroupStateRecord, TransactionStateRecord};
use strandline_protocol::header::{RequestHeader, ResponseHeader};
use strandline_protocol::messages::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use strandline_protocol::messages::principal::DefaultPrincipalData;
use strandline_protocol::metadata::{METADATA_RECORDS, MetadataRecord};
use strandline_protocol::spec::MessageSpec;
use strandline_protocol::stored::producer_snapshot::ProducerSnapshot;
use strandline_protocol::stored::quorum_state::QuorumStateData;
use strandline_protocol::stored::remote_log::{
    RemoteLogSegmentMetadataRecord, RemoteLogSegmentMetadataSnapshotRecord, RemoteLogSegmentMetadataUpdateRecord,
    RemotePartitionDeleteMetadataRecord,
};
use strandline_protocol::wire::{Message, Reader, WireError, Writer};

use crate::generate;

type Rewrite = Box<dyn Fn(Bytes, i16) -> Result<Bytes, WireError>>;

pub(crate) struct Definition {
    pub(crate) spec: &'static MessageSpec,
    /// Decodes a whole body in a version and encodes it again.
    pub(crate) rewrite: Rewrite,
}

impl Definition {
    fn new(spec: &'static MessageSpec, rewrite: impl Fn(Bytes, i16) -> Result<Bytes, WireError> + 'static) -> Self {
        Self { spec, rewrite: Box::new(rewrite) }
    }

    fn of<M: Message>() -> Self {
        Self::new(&M::MESSAGE, |bytes, version| M::from_bytes(bytes, version).map(|message| message.to_bytes(version)))
    }
}

pub(crate) fn all() -> Vec<Definition> {
    let mut all = vec![
        Definition::of::<RequestHeader>(),
        Definition::of::<ResponseHeader>(),
        Definition::of::<ConsumerProtocolSubscription>(),
        Definition::of::<ConsumerProtocolAssignment>(),
        Definition::of::<DefaultPrincipalData>(),
        Definition::of::<ControlRecordTypeSchema>(),
        Definition::of::<EndTxnMarker>(),
        Definition::of::<LeaderChangeMessage>(),
        Definition::of::<SnapshotHeaderRecord>(),
        Definition::of::<SnapshotFooterRecord>(),
        Definition::of::<KRaftVersionRecord>(),
        Definition::of::<VotersRecord>(),
        Definition::of::<QuorumStateData>(),
        Definition::of::<ProducerSnapshot>(),
        Definition::of::<RemoteLogSegmentMetadataRecord>(),
        Definition::of::<RemoteLogSegmentMetadataUpdateRecord>(),
        Definition::of::<RemotePartitionDeleteMetadataRecord>(),
        Definition::of::<RemoteLogSegmentMetadataSnapshotRecord>(),
    ];
    all.extend(APIS.iter().flat_map(api));
    all.extend(METADATA_RECORDS.iter().map(|spec| metadata(spec)));
    all.extend(ConsumerOffsetsRecord::SPECS.iter().flat_map(|pair| {
        coordinator(*pair, |key, value| {
            ConsumerOffsetsRecord::decode(key, value)
                .map(|record| Box::new(move |version| (record.key(), record.value(version))) as Encode)
        })
    }));
    all.extend(TransactionStateRecord::SPECS.iter().flat_map(|pair| {
        coordinator(*pair, |key, value| {
            TransactionStateRecord::decode(key, value)
                .map(|record| Box::new(move |version| (record.key(), record.value(version))) as Encode)
        })
    }));
    all.extend(ShareGroupStateRecord::SPECS.iter().flat_map(|pair| {
        coordinator(*pair, |key, value| {
            ShareGroupStateRecord::decode(key, value)
                .map(|record| Box::new(move |version| (record.key(), record.value(version))) as Encode)
        })
    }));
    all
}

fn api(row: &'static ApiRow) -> [Definition; 2] {
    let request = Definition::new(row.request, |bytes, version| {
        let mut reader = Reader::new(bytes);
        let request = Request::decode(row.key, version, &mut reader)?;
        reader.finish()?;
        Ok(written(|writer| request.encode(writer, version)))
    });
    let response = Definition::new(row.response, |bytes, version| {
        let mut reader = Reader::new(bytes);
        let response = Response::decode(row.key, version, &mut reader)?;
        reader.finish()?;
        Ok(written(|writer| response.encode(writer, version)))
    });
    [request, response]
}

fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.into_bytes()
}

/// Frame version, type and version are a byte each as long as they are below 128.
fn metadata(spec: &'static MessageSpec) -> Definition {
    let key = spec.key.expect("a metadata record has a type") as u8;
    Definition::new(spec, move |bytes, version| {
        let value = [&[1, key, version as u8], &bytes[..]].concat();
        Ok(MetadataRecord::decode(value.into())?.encode(version).slice(3..))
    })
}

/// Gives key and value of a decoded record in a version.
type Encode = Box<dyn Fn(i16) -> (Bytes, Option<Bytes>)>;

fn coordinator(
    (key_spec, value_spec): (&'static MessageSpec, &'static MessageSpec),
    decode: fn(Bytes, Option<Bytes>) -> Result<Encode, WireError>,
) -> [Definition; 2] {
    let record_type = key_spec.key.expect("a coordinator's record has a type");
    let key =
        Definition::new(key_spec, move |bytes, version| Ok(decode(prefixed(record_type, &bytes), None)?(version).0.slice(2..)));
    let value = Definition::new(value_spec, move |bytes, version| {
        let any_key = generate::default_body(key_spec, 0);
        let encode = decode(prefixed(record_type, &any_key), Some(prefixed(version, &bytes)))?;
        Ok(encode(version).1.expect("a value was decoded").slice(2..))
    });
    [key, value]
}

fn prefixed(prefix: i16, bytes: &[u8]) -> Bytes {
    let mut whole = BytesMut::new();
    whole.put_i16(prefix);
    whole.put_slice(bytes);
    whole.freeze()
}
