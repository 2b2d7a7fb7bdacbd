//! How many bytes of answers the broker holds that their clients have not taken yet.
//!
//! The records of a Fetch are the only answers that a client can make as large as it likes. Each of them gets a share of
//! what is left ([`Answers::take`]) before files are read or cached batches held on to, so that those who take nothing
//! leave ever smaller shares to each other, and the broker never runs out: the smallest share is always given. So all
//! answers together hold at most [`ANSWERS_BYTES_MAX`], and for every connection the smallest share or one batch,
//! whichever is larger. Who is given less than was asked for gets the rest by asking again, as a client does.
//!
//! Not here: who is closed when answers are scarce (`pace.rs`).

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all answers at which only the smallest shares are given: as much as the tail cache holds by default, and
/// enough for sixteen readers of old records that go at full speed.
pub(crate) const ANSWERS_BYTES_MAX: usize = 128 << 20;

/// One answer gets at most this part of what is left. Above: fewer readers at full speed; below: fewer hoarders until
/// shares are small.
const SHARES: usize = 16;

/// Largest answer to a Fetch, its first batch excepted.
pub(crate) const ANSWER_BYTES_MAX: usize = ANSWERS_BYTES_MAX / SHARES;

/// Smallest share, given even when nothing is left: a reader goes on with it, at a fraction of its speed.
pub(crate) const ANSWER_BYTES_LEAST: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Answers {
    held: AtomicUsize,
}

impl Answers {
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes what an answer that wants `bytes` bytes may have.
    pub(crate) fn take(&self, bytes: usize) -> usize {
        let left = ANSWERS_BYTES_MAX.saturating_sub(self.held());
        let granted = bytes.min((left / SHARES).max(ANSWER_BYTES_LEAST));
        self.hold(granted);
        granted
    }

    /// Counts bytes that are held in any case.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether those who do not take their answers have to go.
    pub(crate) fn is_scarce(&self) -> bool {
        self.held() > ANSWERS_BYTES_MAX / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_nothing_leaves_ever_less_to_others_and_never_nothing() {
        let answers = Answers::default();
        let shares: Vec<usize> = (0..1000).map(|_| answers.take(50 << 20)).collect();
        assert_eq!(shares[0], ANSWER_BYTES_MAX);
        assert!(shares.is_sorted_by(|before, after| before >= after));
        assert_eq!(shares[999], ANSWER_BYTES_LEAST);
        assert!(answers.held() <= ANSWERS_BYTES_MAX + 1000 * ANSWER_BYTES_LEAST);
        assert_eq!(answers.take(100), 100);
        assert!(answers.is_scarce());
        shares.into_iter().for_each(|share| answers.give_back(share));
        answers.give_back(100);
        assert_eq!((answers.held(), answers.take(50 << 20)), (0, ANSWER_BYTES_MAX));
    }
}
