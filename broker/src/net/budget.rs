//! How many bytes of requests the broker holds at a time: above the limit, connections wait unread.
//!
//! A request counts from the moment its frame is known until its reply leaves. Not here: the limits of one connection.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), freed: Notify::new() }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.limit && before - bytes < self.limit {
            self.freed.notify_waiters();
        }
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.used.load(Ordering::Acquire) >= self.limit
    }

    /// Waits until there is room.
    pub(crate) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on no notification is missed.
            freed.as_mut().enable();
            if !self.is_exhausted() {
                return;
            }
            freed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_finds_the_budget_exhausted_goes_on_when_it_is_not() {
        let budget = Arc::new(Budget::new(100));
        budget.room().await;
        budget.take(80);
        budget.take(50);
        let waiting = {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move { budget.room().await })
        };
        tokio::task::yield_now().await;
        budget.give_back(20);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "110 bytes are still held");
        budget.give_back(80);
        waiting.await.expect("the waiter goes on");
        assert_eq!(budget.used(), 30);
    }
}
