//! Strandline's client library: produce to, read from and administer any cluster that speaks Apache Kafka's protocol.
//!
//! A [`Client`] is a cheap handle that knows the cluster; a [`Producer`], a [`Reader`], a [`Consumer`] and an [`Admin`] are
//! made from it and reconnect on their own. All of them live on tokio.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use strandline_client::{Client, End, Record, Start};
//!
//! let client = Client::builder(["127.0.0.1:9092"]).client_id("shop").connect().await?;
//! let producer = client.producer().build()?;
//! let stored = producer.send(Record::to("orders").key("k1").value("hello")).await?;
//! println!("{}-{}@{}", stored.topic, stored.partition, stored.offset);
//!
//! let mut reader = client.reader("orders").from(Start::Beginning).until(End::Now).open().await?;
//! while let Some(record) = reader.next().await? {
//!     println!("{:?}", record.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `client.producer().transactional_id(..)` goes on to a [`TransactionalProducer`]; what it commits a reader or consumer sees as
//! [`Isolation::ReadCommitted`].
//!
//! Members of a group share partitions, so that their records stay in order; members of a share group ([`ShareConsumer`]) share
//! records, and say of each what became of it.
//!
//! Not here yet: TLS and SASL. Not here at all: what a broker decides.
//!
//! **Cancellation.** State lives in background tasks. A future that is dropped loses its answer and nothing else: what was
//! sent may still be carried out. Each function says more where there is more to say.
//!
//! **Trust.** What a server sends is decoded by `strandline-protocol`, which reserves no memory on a peer's word; frames
//! and decompressed batches have limits here as well.
#![forbid(unsafe_code)]

mod address;
mod admin;
mod backoff;
mod calls;
mod client;
mod connection;
mod connections;
mod consumer;
mod coordinator;
mod error;
mod fetcher;
mod group;
mod locked;
mod metadata;
mod offsets;
mod partitioner;
mod producer;
mod reader;
mod record;
mod share;

pub use address::{Address, InvalidAddress};
pub use admin::{
    ActiveProducer, Admin, AdminError, BrokerDescription, Change, ClusterDescription, CommittedOffset, ConfigEntry,
    ConfigResource, ConfigSource, CreatedTopic, Election, GroupDescription, GroupListing, GroupMember, ListedTransaction,
    LogDirectory, NewTopic, NewVoter, PerItem, PlacedReplica, QuorumDescription, QuorumReplica, Reassignment,
    TransactionDescription, TransactionFilter, VoterEndpoint,
};
pub use calls::Call;
pub use client::{Client, ClientBuilder, ConnectError};
pub use connection::{CallOptions, Connection, Pending};
pub use consumer::{Assignor, Batch, Commit, ConsumeError, Consumer, ConsumerBuilder, GroupProtocol, Rebalance, Stopper};
pub use coordinator::CoordinatorError;
pub use error::{KafkaError, Kind, RequestError};
pub use group::GroupMetadata;
pub use metadata::{Broker, Cluster, MetadataError, Partition, Topic};
pub use offsets::{ListedOffset, OffsetSpec};
pub use partitioner::{murmur2, partition_of_key};
pub use producer::{
    AbortCause, Acks, Delivery, Outcome, ProduceError, Producer, ProducerBuilder, RecordMeta, SendFailed, Transaction,
    TransactionError, TransactionalProducer, TransactionalProducerBuilder,
};
pub use reader::{Damage, End, Isolation, OutOfRange, ReadError, Reader, ReaderBuilder, Start};
pub use record::{ConsumerRecord, Header, Record, TimestampType};
pub use share::{
    Acknowledge, Acknowledged, ShareBatch, ShareConsumer, ShareConsumerBuilder, ShareError, ShareRecord, ShareStopper,
};
/// Words of the protocol that stand in this crate's signatures.
pub use strandline_protocol::error::ErrorCode;
pub use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicId, Uuid};
pub use strandline_protocol::records::{Codec, Compression};

/// A topic's name and the number of one of its partitions.
pub type TopicPartition = (String, i32);
