use strandline_protocol::error::ErrorCode;
use tokio::sync::Semaphore;

use super::*;
use crate::producer::delivery::Delivery;
use crate::record::Record;

const RULES: Rules = Rules {
    batch_bytes: 250,
    linger: Duration::ZERO,
    delivery_timeout: Duration::from_secs(60),
    in_flight_max: 5,
    idempotent: true,
};

const LINGER: Duration = Duration::from_millis(10);

/// A queue with the clock, and the callers that wait.
struct Bench {
    queue: Queue,
    rules: Rules,
    now: Instant,
    room: Arc<Semaphore>,
    dice: Dice,
    deliveries: Vec<Delivery>,
}

impl Bench {
    fn new() -> Self {
        let mut queue = Queue::default();
        queue.identify(Identity { id: ProducerId(9), epoch: ProducerEpoch(0) });
        let room = Arc::new(Semaphore::new(1 << 20));
        Self { queue, rules: RULES, now: Instant::now(), room, dice: Dice::seeded(1), deliveries: Vec::new() }
    }

    /// Pushes a record that is a batch of its own.
    fn push_batch(&mut self) {
        self.push(200);
    }

    fn push(&mut self, bytes: usize) -> Joined {
        let (waiting, delivery) = Waiting::new(Record::to("t").value("v"), 0, 0);
        self.deliveries.push(delivery);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes as u32).unwrap();
        self.queue.push(waiting, bytes, room, &self.rules, self.now)
    }

    fn is_ready(&self) -> bool {
        let pace = if self.queue.in_flight.is_empty() { Pace::AtOnce } else { Pace::Linger };
        self.queue.ready_at(&self.rules, pace, self.now).is_some_and(|at| at <= self.now)
    }

    /// Takes what is ready, and nothing else.
    fn take(&mut self) -> Option<Batch> {
        if self.is_ready() { self.queue.take() } else { None }
    }

    fn take_all(&mut self) -> Vec<Batch> {
        std::iter::from_fn(|| self.take()).collect()
    }

    fn fail(&mut self, batch: Batch, missing_before: bool) {
        let failure = Some(ProduceError::NoProducerId { code: ErrorCode::NOT_LEADER_OR_FOLLOWER });
        self.queue.put_back([batch], PutBack { missing_before, failure }, self.now, &mut self.dice);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn stamps(batches: &[Batch]) -> Vec<(i16, i32)> {
    batches.iter().map(|batch| (batch.stamp.epoch, batch.stamp.base_sequence)).collect()
}

#[test]
fn the_first_record_goes_at_once_and_the_next_wait_for_company() {
    let mut bench = Bench::new();
    bench.rules.linger = LINGER;
    assert_eq!(bench.push(10), Joined::Wake);
    assert!(bench.take().is_some());
    assert_eq!(bench.push(10), Joined::Wake);
    assert_eq!(bench.push(10), Joined::Quiet);
    assert!(!bench.is_ready());
    bench.wait(LINGER);
    assert_eq!(bench.take().unwrap().records.len(), 2);
}

#[test]
fn a_full_batch_does_not_wait() {
    let mut bench = Bench::new();
    bench.rules.linger = LINGER;
    bench.push_batch();
    bench.take().unwrap();
    bench.push_batch();
    assert!(!bench.is_ready());
    bench.push_batch();
    assert!(bench.is_ready());
}

#[test]
fn sequences_count_records_and_no_more_than_five_batches_are_in_flight() {
    let mut bench = Bench::new();
    bench.push(10);
    bench.push(10);
    (0..7).for_each(|_| bench.push_batch());
    let taken = bench.take_all();
    assert_eq!(stamps(&taken), [(0, 0), (0, 2), (0, 3), (0, 4), (0, 5)]);
    bench.queue.done(taken[2].number.unwrap());
    assert_eq!(stamps(&bench.take_all()), [(0, 6)]);
}

#[test]
fn after_a_failure_nothing_goes_out_until_all_are_back_and_then_in_order() {
    let mut bench = Bench::new();
    (0..4).for_each(|_| bench.push_batch());
    let mut taken = bench.take_all();
    let last = taken.pop().unwrap();
    taken.into_iter().rev().for_each(|batch| bench.fail(batch, false));
    bench.wait(Duration::from_secs(2));
    assert!(!bench.is_ready(), "the last one is still in flight");
    bench.fail(last, false);
    bench.wait(Duration::from_secs(2));
    assert_eq!(stamps(&bench.take_all()), [(0, 0), (0, 1), (0, 2), (0, 3)]);
}

#[test]
fn a_retry_waits_its_backoff() {
    let mut bench = Bench::new();
    bench.push_batch();
    let batch = bench.take().unwrap();
    bench.fail(batch, false);
    assert!(!bench.is_ready());
    bench.wait(Duration::from_millis(130));
    assert!(bench.is_ready());
}

#[test]
fn a_gap_behind_a_batch_that_is_left_keeps_the_epoch() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.push_batch());
    let taken = bench.take_all();
    let mut taken = taken.into_iter();
    // The first failed; that the broker then misses it in front of the others is no news.
    bench.fail(taken.next().unwrap(), false);
    taken.for_each(|batch| bench.fail(batch, true));
    bench.wait(Duration::from_secs(2));
    assert_eq!(stamps(&bench.take_all()), [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn a_gap_in_front_of_the_first_batch_that_is_left_begins_an_epoch() {
    let mut bench = Bench::new();
    (0..4).for_each(|_| bench.push_batch());
    let mut taken = bench.take_all().into_iter();
    // The first failed for good and leaves a gap.
    bench.queue.done(taken.next().unwrap().number.unwrap());
    taken.for_each(|batch| bench.fail(batch, true));
    bench.wait(Duration::from_secs(2));
    bench.push_batch();
    assert_eq!(stamps(&bench.take_all()), [(1, 0), (1, 1), (1, 2), (1, 3)]);
}

#[test]
fn an_epoch_begins_only_when_nothing_is_in_flight() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.push_batch());
    let mut taken = bench.take_all();
    let last = taken.pop().unwrap();
    bench.queue.done(taken[0].number.unwrap());
    bench.fail(taken.remove(1), true);
    bench.wait(Duration::from_secs(2));
    assert!(bench.take().is_none());
    bench.queue.done(last.number.unwrap());
    assert_eq!(stamps(&bench.take_all()), [(1, 0)]);
}

#[test]
fn a_producer_id_without_epochs_left_is_given_up() {
    let mut bench = Bench::new();
    bench.queue.reign = Some(Reign { identity: Identity { id: ProducerId(9), epoch: ProducerEpoch::MAX }, origin: 0 });
    (0..2).for_each(|_| bench.push_batch());
    let taken = bench.take_all();
    taken.into_iter().for_each(|batch| bench.fail(batch, true));
    bench.wait(Duration::from_secs(2));
    assert!(bench.queue.take().is_none());
    assert!(bench.queue.wants_identity(&RULES));
    bench.queue.identify(Identity { id: ProducerId(10), epoch: ProducerEpoch(0) });
    let taken = bench.take_all();
    assert_eq!(stamps(&taken), [(0, 0), (0, 1)]);
    assert!(taken.iter().all(|batch| batch.stamp.id == 10));
}

#[test]
fn sequences_wrap_to_zero() {
    let reign = Reign { identity: Identity { id: ProducerId(1), epoch: ProducerEpoch(0) }, origin: 5 };
    assert_eq!(reign.stamp(5 + i32::MAX as u64).base_sequence, i32::MAX);
    assert_eq!(reign.stamp(6 + i32::MAX as u64).base_sequence, 0);
}

#[test]
fn halves_keep_the_sequences_of_the_whole_and_do_not_wait() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.push(20);
    }
    bench.push_batch();
    let mut taken = bench.take_all().into_iter();
    let (first, second) = taken.next().unwrap().halves();
    bench.queue.put_back([first, second], PutBack::default(), bench.now, &mut bench.dice);
    bench.fail(taken.next().unwrap(), true);
    bench.wait(Duration::from_secs(2));
    assert_eq!(stamps(&bench.take_all()), [(0, 0), (0, 2), (0, 5)]);
}

#[test]
fn what_is_too_late_is_given_back_with_the_last_failure() {
    let mut bench = Bench::new();
    bench.push_batch();
    let batch = bench.take().unwrap();
    bench.fail(batch, false);
    bench.push(10);
    bench.wait(RULES.delivery_timeout);
    let expired = bench.queue.expired(&RULES, bench.now);
    let maybe: Vec<bool> = expired
        .iter()
        .map(|(_, error)| match error {
            ProduceError::TimedOut { maybe_written, last, .. } => *maybe_written && last.is_some(),
            _ => panic!("{error}"),
        })
        .collect();
    assert_eq!(maybe, [true, false]);
    assert!(!bench.queue.has_work());
}

#[test]
fn without_an_identity_an_idempotent_queue_waits() {
    let mut bench = Bench::new();
    bench.queue = Queue::default();
    bench.push_batch();
    assert!(bench.queue.wants_identity(&RULES));
    assert!(!bench.is_ready());
    bench.rules.idempotent = false;
    assert_eq!(bench.take().unwrap().stamp, ProducerStamp::default());
}
