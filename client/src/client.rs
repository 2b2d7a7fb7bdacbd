//! The handle from which everything is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;

use crate::address::{Address, InvalidAddress};
use crate::admin::Admin;
use crate::calls::Call;
use crate::connection::{Connection, ConnectionSettings};
use crate::connections::Connections;
use crate::consumer::ConsumerBuilder;
use crate::error::{KafkaError, Kind, RequestError};
use crate::metadata::{Cluster, Metadata, MetadataError, Missing, Topic};
use crate::producer::ProducerBuilder;
use crate::reader::ReaderBuilder;
use crate::share::ShareConsumerBuilder;

/// The largest answer that is taken from a server by default: well above what fetches ask for, well below memory.
const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// A cluster, seen from a client; cheap to clone. Producers, readers and admin handles made from it live on without it.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: Arc<ConnectionSettings>,
    pub(crate) metadata: Metadata,
}

/// How to connect; see the defaults at each setting.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    addresses: Vec<String>,
    settings: ConnectionSettings,
}

/// Why there is no client.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    #[error("no address to connect to")]
    NoAddress,
    #[error(transparent)]
    InvalidAddress(#[from] InvalidAddress),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl KafkaError for ConnectError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoAddress | Self::InvalidAddress(_) => Kind::Invalid,
            Self::Metadata(error) => error.kind(),
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Metadata(error) => error.code(),
            _ => None,
        }
    }
}

impl ClientBuilder {
    /// The name that brokers show in logs and quotas; default `strandline`.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.settings.client_id = client_id.into();
        self
    }

    /// How long a connection may take to be made, versions included; default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long an answer may take before the connection is given up; default 30 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// The largest answer that is taken from a server; default 256 MiB.
    #[must_use]
    pub fn response_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.response_bytes_max = bytes;
        self
    }

    /// Connects to the first of the addresses that answers, and learns the brokers from it.
    ///
    /// # Errors
    /// [`ConnectError`] if an address is malformed or none answers.
    ///
    /// Dropping the future drops the attempt.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let seeds = self.addresses.iter().map(|text| text.parse()).collect::<Result<Vec<Address>, _>>()?;
        if seeds.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        let settings = Arc::new(self.settings);
        let metadata = Metadata::new(seeds, Connections::new(Arc::clone(&settings)));
        metadata.refresh(&[], Missing::Report).await?;
        Ok(Client { shared: Arc::new(Shared { settings, metadata }) })
    }
}

impl Client {
    /// Begins a client of the cluster that has a server at one of these addresses, `host:port` each.
    pub fn builder(addresses: impl IntoIterator<Item = impl Into<String>>) -> ClientBuilder {
        let settings = ConnectionSettings {
            client_id: "strandline".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            response_bytes_max: RESPONSE_BYTES_MAX,
        };
        ClientBuilder { addresses: addresses.into_iter().map(Into::into).collect(), settings }
    }

    /// Begins a producer.
    #[must_use]
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.clone())
    }

    /// Begins a reader of one topic.
    #[must_use]
    pub fn reader(&self, topic: impl Into<String>) -> ReaderBuilder {
        ReaderBuilder::new(self.clone(), topic.into())
    }

    /// Begins a consumer that shares the partitions of topics with the other members of a group.
    #[must_use]
    pub fn consumer(&self, group: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone(), group.into())
    }

    /// Begins a consumer that shares the records of topics with the other members of a share group.
    #[must_use]
    pub fn share_consumer(&self, group: impl Into<String>) -> ShareConsumerBuilder {
        ShareConsumerBuilder::new(self.clone(), group.into())
    }

    /// A handle for topics, configuration, groups and offsets.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// The cluster as it was last seen.
    #[must_use]
    pub fn cluster(&self) -> Arc<Cluster> {
        self.shared.metadata.cluster()
    }

    /// A topic, asked for if it is not known yet; never makes one.
    ///
    /// # Errors
    /// [`MetadataError`] if no server answers or the topic does not exist.
    pub async fn topic(&self, name: &str) -> Result<Arc<Topic>, MetadataError> {
        self.shared.metadata.topic(name, Missing::Report).await
    }

    /// Makes a connection to a broker for the caller alone: the way to requests that have no function here, and to
    /// pipelines of one's own.
    ///
    /// # Errors
    /// [`RequestError`] if the broker is unknown or cannot be reached.
    pub async fn connection_to(&self, broker: BrokerId) -> Result<Connection, RequestError> {
        let address = self.cluster().address(broker)?.clone();
        Connection::open(address, Arc::clone(&self.shared.settings)).await
    }

    /// Asks one broker on the client's own connection.
    pub(crate) async fn call<C: Call>(&self, broker: BrokerId, request: C) -> Result<C::Response, RequestError> {
        let address = self.cluster().address(broker)?.clone();
        self.shared.metadata.connections.call(&address, request).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
