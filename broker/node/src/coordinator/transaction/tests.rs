use std::collections::BTreeSet;

use strandline_protocol::coordinator::TransactionStateRecord;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{ProducerEpoch, ProducerId, TransactionalId};

use super::entry::{Entry, Producer};
use super::status::{End, Status};
use super::{EndRequest, InitRequest, Refusal, Transactions};
use crate::config::BrokerConfig;
use crate::coordinator::settings::CoordinatorSettings;
use crate::coordinator::timers::Timers;
use crate::coordinator::turn::Turn;
use crate::dice::Dice;
use crate::features::TRANSACTION_VERSION;
use crate::image::Image;
use crate::io::Now;

fn at(epoch: i16) -> Producer {
    Producer { id: ProducerId(7), epoch: ProducerEpoch(epoch) }
}

#[test]
fn what_is_written_is_read_back() {
    let entry = Entry {
        status: Status::PrepareCommit,
        partitions: BTreeSet::from([("a".into(), 0), ("a".into(), 3), ("b".into(), 1)]),
        started_ms: 5,
        next_id: ProducerId(9),
        previous_id: ProducerId(3),
        client_version: 2,
        ..Entry::new(at(4), 1_000, 10)
    };
    let TransactionStateRecord::TransactionLog(key, value) = entry.record(&"t".into());
    assert_eq!(key.transactional_id.as_str(), "t");
    assert_eq!(Entry::of_record(value.clone().expect("a value")), Some(entry));
    let unknown = strandline_protocol::coordinator::transaction_log::TransactionLogValue {
        transaction_status: 99,
        ..value.expect("a value")
    };
    assert_eq!(Entry::of_record(unknown), None);
}

#[test]
fn the_last_epoch_is_kept_for_the_coordinator() {
    assert!(!Entry::new(at(i16::MAX - 2), 1_000, 10).is_exhausted());
    assert!(Entry::new(at(i16::MAX - 1), 1_000, 10).is_exhausted());
    assert_eq!(Entry::new(at(i16::MAX), 1_000, 10).next_epoch(), ProducerEpoch::MAX);
}

/// Steps transactions without a shard, and keeps what they emit.
struct Bench {
    transactions: Transactions,
    settings: CoordinatorSettings,
    config: BrokerConfig,
    image: Image,
    timers: Timers,
    dice: Dice,
}

impl Bench {
    fn new() -> Self {
        let config = BrokerConfig::from_pairs([("node.id", "1")]).expect("nothing is set");
        let settings = CoordinatorSettings::read(&config);
        let mut image = Image::default();
        image.features.insert(TRANSACTION_VERSION.to_owned(), 2);
        let (timers, dice) = (Timers::default(), Dice::new(7));
        Self { transactions: Transactions::default(), settings, config, image, timers, dice }
    }

    fn step<T>(&mut self, act: impl FnOnce(&mut Transactions, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn {
            now: Now { wall_ms: 1_000, monotonic_ms: 1_000 },
            slot: 0,
            settings: &self.settings,
            config: &self.config,
            image: &self.image,
            timers: &mut self.timers,
            dice: &mut self.dice,
            emitted: Vec::new(),
            said: Vec::new(),
            tasks: Vec::new(),
            wants: Vec::new(),
        };
        act(&mut self.transactions, &mut turn)
    }

    /// Takes what the log would say of an id that has come so far.
    fn at(epoch: i16) -> Self {
        let mut bench = Self::new();
        bench.transactions.entries.insert("t".into(), Entry::new(at(epoch), 1_000, 10));
        bench
    }

    fn init(&mut self, expected: Option<Producer>, fresh: Option<i64>) -> Result<Producer, Refusal> {
        let request = InitRequest { id: "t".into(), timeout_ms: 1_000, expected };
        self.step(|transactions, turn| transactions.init(turn, &request, fresh.map(ProducerId)))
    }

    fn add(&mut self, producer: Producer) -> Result<(), ErrorCode> {
        self.step(|transactions, turn| transactions.add(turn, &"t".into(), producer, &[("a".into(), 0)], 2))
    }

    fn end(&mut self, producer: Producer, end: End, fresh: Option<i64>) -> Result<Producer, Refusal> {
        let request = EndRequest { id: "t".into(), producer, end, client_version: 2 };
        self.step(|transactions, turn| transactions.end(turn, &request, fresh.map(ProducerId)))
    }

    /// All partitions have their marker.
    fn complete(&mut self) {
        let producer = self.transactions.entries[&TransactionalId::from("t")].producer;
        let decided = self.transactions.decided(&"t".into(), producer).expect("it is decided");
        self.step(|transactions, turn| transactions.marked(turn, &"t".into(), producer, &decided.places));
    }
}

#[test]
fn an_end_that_uses_the_epochs_up_gives_a_fresh_id_and_is_told_again_to_who_missed_it() {
    let last = at(i16::MAX - 1);
    let mut bench = Bench::at(i16::MAX - 1);
    assert_eq!(bench.add(last), Ok(()));
    assert_eq!(bench.end(last, End::Commit, None), Err(Refusal::NeedsProducerId));
    let fresh = Producer { id: ProducerId(99), epoch: ProducerEpoch(0) };
    assert_eq!(bench.end(last, End::Commit, Some(99)), Ok(fresh));
    assert_eq!(bench.end(last, End::Commit, None), Err(ErrorCode::CONCURRENT_TRANSACTIONS.into()));
    bench.complete();
    assert_eq!(bench.end(last, End::Commit, None), Ok(fresh), "a retry");
    assert_eq!(bench.end(last, End::Abort, None), Err(ErrorCode::INVALID_TXN_STATE.into()));
    assert_eq!(bench.add(last), Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
    assert_eq!(bench.add(fresh), Ok(()));
    assert_eq!(bench.end(last, End::Commit, None), Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING.into()), "that is over");
}

#[test]
fn a_producer_that_comes_when_the_epochs_are_used_up_gets_a_fresh_id() {
    let mut bench = Bench::at(i16::MAX - 1);
    assert_eq!(bench.init(None, None), Err(Refusal::NeedsProducerId));
    let fresh = Producer { id: ProducerId(99), epoch: ProducerEpoch(0) };
    assert_eq!(bench.init(None, Some(99)), Ok(fresh));
    assert_eq!(bench.init(Some(at(i16::MAX - 1)), None), Err(ErrorCode::PRODUCER_FENCED.into()), "it was another one");
    let mut bench = Bench::at(i16::MAX - 1);
    assert_eq!(bench.init(Some(at(i16::MAX - 1)), Some(99)), Ok(fresh));
    assert_eq!(bench.init(Some(at(i16::MAX - 1)), None), Ok(fresh), "a retry");
}

#[test]
fn a_fence_at_the_last_epoch_still_fences_and_nobody_goes_on_under_it() {
    let last = at(i16::MAX - 1);
    let mut bench = Bench::at(i16::MAX - 1);
    assert_eq!(bench.add(last), Ok(()));
    assert_eq!(bench.init(None, None), Err(ErrorCode::CONCURRENT_TRANSACTIONS.into()));
    bench.complete();
    assert_eq!(bench.end(last, End::Abort, None), Err(ErrorCode::PRODUCER_FENCED.into()));
    assert_eq!(bench.init(None, Some(99)), Ok(Producer { id: ProducerId(99), epoch: ProducerEpoch(0) }));
}

#[test]
fn a_retry_of_an_initialisation_gets_the_same_epoch_and_another_producer_ends_that() {
    let mut bench = Bench::at(4);
    assert_eq!(bench.init(Some(at(4)), None), Ok(at(5)));
    assert_eq!(bench.init(Some(at(4)), None), Ok(at(5)));
    assert_eq!(bench.init(None, None), Ok(at(6)));
    assert_eq!(bench.init(Some(at(5)), None), Err(ErrorCode::PRODUCER_FENCED.into()));
    assert_eq!(bench.init(Some(at(4)), None), Err(ErrorCode::PRODUCER_FENCED.into()));
}

#[test]
fn an_abort_of_nothing_raises_the_epoch_too() {
    let mut bench = Bench::at(4);
    assert_eq!(bench.end(at(4), End::Commit, None), Err(ErrorCode::INVALID_TXN_STATE.into()));
    assert_eq!(bench.end(at(4), End::Abort, None), Ok(at(5)));
    bench.complete();
    assert_eq!(bench.end(at(4), End::Abort, None), Ok(at(5)), "a retry");
    assert_eq!(bench.end(at(5), End::Abort, None), Ok(at(6)));
    bench.complete();
    assert_eq!(bench.add(at(6)), Ok(()));
}
