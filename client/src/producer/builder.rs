//! How a producer behaves.

use std::time::Duration;

use strandline_protocol::records::Compression;

use super::Producer;
use super::error::ProduceError;
use super::queue::Rules;
use super::transaction::TransactionalProducerBuilder;
use crate::client::Client;

/// Batches of one partition in flight at most: brokers remember the last five of every producer, and recognise a
/// repeated one only among those.
const IN_FLIGHT_MAX: usize = 5;

/// Who has to have a record before it counts as produced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: the record has been written to a socket.
    None,
    /// The leader of the partition.
    Leader,
    /// The leader and every replica in sync.
    #[default]
    All,
}

impl Acks {
    pub(super) fn on_the_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// What a producer needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) acks: Acks,
    pub(super) compression: Compression,
    pub(super) request_bytes_max: usize,
    pub(super) buffer_bytes: usize,
    pub(super) rules: Rules,
}

/// How a producer behaves; see the defaults at each setting.
#[derive(Clone, Debug)]
pub struct ProducerBuilder {
    client: Client,
    settings: Settings,
    idempotent: Option<bool>,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client) -> Self {
        let rules = Rules {
            batch_bytes: 128 << 10,
            linger: Duration::from_millis(5),
            delivery_timeout: Duration::from_secs(120),
            in_flight_max: IN_FLIGHT_MAX,
            idempotent: true,
        };
        let settings = Settings {
            acks: Acks::All,
            compression: Compression::None,
            request_bytes_max: 1 << 20,
            buffer_bytes: 32 << 20,
            rules,
        };
        Self { client, settings, idempotent: None }
    }

    /// Who has to have a record before it counts; default all in sync.
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.settings.acks = acks;
        self
    }

    /// Whether brokers recognise a batch that is sent twice; default yes with acks from all, and impossible without.
    ///
    /// Without it a retry may store a record twice. Order is kept either way, by having one batch of a partition in
    /// flight instead of five.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// How batches are compressed; default not at all.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// How long a record waits for company while another request is in flight to its broker; default 5 ms. With nothing in
    /// flight a record goes at once.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.rules.linger = linger;
        self
    }

    /// Bytes of records in a batch, before compression; default 128 KiB. A larger record is a batch of its own.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.rules.batch_bytes = bytes;
        self
    }

    /// The largest record, and the bytes of batches in one request; default 1 MiB.
    #[must_use]
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.request_bytes_max = bytes;
        self
    }

    /// Bytes of records that may wait for their fate; default 32 MiB. `enqueue` waits when they are used up.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer_bytes = bytes;
        self
    }

    /// How long a record may take from `enqueue` to its acknowledgement, retries included; default 120 s.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.rules.delivery_timeout = timeout;
        self
    }

    /// Starts the producer; it must be called within a tokio runtime.
    ///
    /// # Errors
    /// `InvalidSetting` if settings contradict each other.
    pub fn build(self) -> Result<Producer, ProduceError> {
        let settings = self.checked().map_err(|what| ProduceError::InvalidSetting { what })?;
        Ok(Producer::start(&self.client, settings, None))
    }

    /// Goes on to a producer of transactions under this id, which fences whoever used the id before.
    #[must_use]
    pub fn transactional_id(self, id: impl Into<String>) -> TransactionalProducerBuilder {
        let settings = self.checked();
        TransactionalProducerBuilder::new(self.client, settings, id.into())
    }

    fn checked(&self) -> Result<Settings, &'static str> {
        let mut settings = self.settings;
        settings.rules.idempotent = self.idempotent.unwrap_or(settings.acks == Acks::All);
        if settings.rules.idempotent && settings.acks != Acks::All {
            return Err("an idempotent producer needs acks from all");
        }
        if settings.rules.batch_bytes == 0 || settings.request_bytes_max == 0 {
            return Err("batches and requests have at least one byte");
        }
        if settings.buffer_bytes < settings.request_bytes_max || settings.buffer_bytes > u32::MAX as usize {
            return Err("the buffer holds at least one request and at most 4 GiB");
        }
        if settings.rules.delivery_timeout.is_zero() {
            return Err("the delivery timeout is zero");
        }
        // What may be stored twice may also overtake: one at a time keeps the order.
        if !settings.rules.idempotent && settings.acks != Acks::None {
            settings.rules.in_flight_max = 1;
        }
        Ok(settings)
    }
}
