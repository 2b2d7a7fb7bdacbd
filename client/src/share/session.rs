//! A share session with one leader: requests of it are numbered, and partitions are named once. Without clock or socket.
//!
//! Legal moves: closed -> (epoch 0) open -> (epochs 1, 2, ..) -> closed by epoch -1, or lost. While a request is under way none
//! follows.

use std::collections::BTreeSet;

use strandline_protocol::ids::TopicId;
use tokio::time::Instant;

use super::fetch::Kind;
use crate::backoff::{Backoff, Dice};

/// A partition as brokers name it.
pub(super) type Place = (TopicId, i32);

/// Epochs that are words.
const OPENS: i32 = 0;
const CLOSES: i32 = -1;

/// Whether a request closes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    No,
    Yes,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    /// Of the next request.
    epoch: i32,
    places: BTreeSet<Place>,
    under_way: bool,
    failures: u32,
    not_before: Option<Instant>,
}

/// What a request says of its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) epoch: i32,
    pub(super) added: Vec<Place>,
    pub(super) forgotten: Vec<Place>,
}

impl Session {
    pub(super) fn has(&self, place: Place) -> bool {
        self.places.contains(&place)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// From when on a request may follow; `None` while one is under way.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        (!self.under_way).then(|| self.not_before.unwrap_or(now))
    }

    /// A request begins.
    pub(super) fn begin(&mut self, kind: &Kind) -> Opening {
        self.under_way = true;
        let mut opening = Opening { epoch: self.epoch, ..Opening::default() };
        match kind {
            Kind::Fetch { places, words } => {
                // A partition that something is said of is named, and so stays for this time.
                let named = self.places.iter().filter(|place| words.contains_key(place)).copied();
                let places: BTreeSet<Place> = places.iter().copied().chain(named).collect();
                opening.added = places.difference(&self.places).copied().collect();
                opening.forgotten = self.places.difference(&places).copied().collect();
                self.places = places;
            }
            Kind::Acknowledge { close: Close::Yes, .. } => opening.epoch = CLOSES,
            Kind::Acknowledge { .. } | Kind::Renew { .. } => {}
        }
        self.epoch = if self.epoch == i32::MAX { OPENS + 1 } else { self.epoch + 1 };
        opening
    }

    /// The request was answered.
    pub(super) fn heard(&mut self) {
        (self.under_way, self.failures, self.not_before) = (false, 0, None);
    }

    /// The session is no more: the next request opens another.
    pub(super) fn lost(&mut self, now: Instant, dice: &mut Dice) {
        let failures = self.failures;
        *self = Self { failures, ..Self::default() };
        self.pause(now, dice);
    }

    /// The next request waits.
    pub(super) fn pause(&mut self, now: Instant, dice: &mut Dice) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + Backoff::RETRY.after(self.failures, dice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(partitions: &[i32]) -> Kind {
        let places = partitions.iter().map(|partition| (TopicId::ZERO, *partition)).collect();
        Kind::Fetch { words: Default::default(), places }
    }

    #[test]
    fn partitions_are_named_once_and_forgotten_once() {
        let (mut session, now) = (Session::default(), Instant::now());
        let place = |partition| (TopicId::ZERO, partition);
        let first = session.begin(&fetch(&[0, 1]));
        assert_eq!((first.epoch, first.added.len(), first.forgotten.len()), (0, 2, 0));
        assert_eq!(session.ready_at(now), None, "one request at a time");
        session.heard();
        let second = session.begin(&fetch(&[1, 2]));
        assert_eq!(second, Opening { epoch: 1, added: vec![place(2)], forgotten: vec![place(0)] });
        session.heard();
        let last = session.begin(&Kind::Acknowledge { words: Default::default(), close: Close::Yes });
        assert_eq!(last.epoch, -1);
    }

    #[test]
    fn a_lost_session_is_opened_anew_after_a_pause() {
        let (mut session, now) = (Session::default(), Instant::now());
        session.begin(&fetch(&[0]));
        session.lost(now, &mut Dice::seeded(1));
        assert!(session.ready_at(now).is_some_and(|at| at > now));
        assert!(!session.has((TopicId::ZERO, 0)));
        let again = session.begin(&fetch(&[0]));
        assert_eq!((again.epoch, again.added.len()), (0, 1));
    }
}
